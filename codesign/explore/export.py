"""How does a design leave the page? As a design, a study, or Python.

State and its design -> text that the commands and the library accept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from codesign.config.chips import chip_info
from codesign.config.design import (
    PLACES,
    build_design,
    design_to_dict,
    exact_text,
)
from codesign.config.limits import Limit
from codesign.config.resolved import REQUEST_KEYS, bounds_text
from codesign.config.variables import Variable
from codesign.config.yaml import yaml_text
from codesign.core.errors import InputError
from codesign.core.paths import get_path, path_units
from codesign.explore.state import Origin, State, state_of
from codesign.serving.design import Design

ALWAYS = ("num_chips", "tensor_parallel", "batch", "prompt_length", "output_length")
NAMELESS = (
    "This design came from a file, which does not say from which presets. "
    "Copy the whole design instead."
)
DRAFTED = "A draft model cannot be written in a few lines. Copy the design instead."


@dataclass(frozen=True)
class Words:
    """A design in the words of ``build_design``: presets, arguments, overrides."""

    names: dict[str, str]
    arguments: dict[str, str | int | float]
    overrides: dict[str, str]


def describe(origin: Origin, state: State, *, design: Design) -> Words:
    """Presets, arguments and overrides that build exactly this design.

    Raises:
        InputError: it is not known from which presets the design came.
    """
    chip, model = state.chip or origin.chip, state.model or origin.model
    if not chip or not model:
        raise InputError(NAMELESS)
    if design.draft is not None:
        raise InputError(DRAFTED)
    stack = _stack(origin, state, chip=chip)
    units = path_units(Design)
    rate = float(design.request.rate) > 0
    wanted = [("rate" if rate and n == "batch" else n) for n in ALWAYS]
    arguments = {
        name: exact_text(float(get_path(design, PLACES[name])), units[PLACES[name]])
        for name in wanted
    }
    names = {"chip": chip, "model": model} | ({"stack": stack} if stack else {})
    given: dict[str, Any] = {**names, **arguments}
    plain = build_design(**given)
    rest = state_of(Origin(plain), State(), design=design).values
    places = {path: name for name, path in PLACES.items()}
    texts = {path: exact_text(value, units[path]) for path, value in rest.items()}
    if rate:
        texts.pop(PLACES["batch"], None)
    arguments |= {places[p]: t for p, t in texts.items() if p in places}
    overrides = {p: str(t) for p, t in texts.items() if p not in places}
    return Words(names, arguments, overrides)


def _stack(origin: Origin, state: State, *, chip: str) -> str:
    """The stack by name where it is not the chip's own."""
    moved = bool(state.chip) and state.chip != origin.chip
    stack = state.stack or ("" if moved else origin.stack)
    return "" if stack == chip_info(chip).stack else stack


def design_yaml(design: Design, *, comment: str) -> str:
    """Every leaf of a design, as ``codesign evaluate`` reads it."""
    stream = StringIO()
    stream.writelines(f"# {line}\n" for line in comment.splitlines())
    YAML().dump(design_to_dict(design), stream)
    return stream.getvalue()


def study_yaml(
    words: Words,
    *,
    name: str,
    variables: Sequence[Variable],
    minimize: str,
    limits: Sequence[Limit],
    extra: Mapping[str, Any],
) -> str:
    """A study with this design as its baseline, for ``codesign optimize``."""
    request = {k: v for k, v in words.arguments.items() if k in REQUEST_KEYS}
    rest = {k: v for k, v in words.arguments.items() if k not in REQUEST_KEYS}
    baseline: dict[str, Any] = {**words.names, **rest, "tune": ["deployment"]}
    if words.overrides:
        baseline["set"] = words.overrides
    content = {
        "name": name,
        "baseline": baseline,
        "request": request,
        "free": {variable.path: bounds_text(variable) for variable in variables},
        "minimize": minimize,
        "subject_to": [limit.text for limit in limits],
        **extra,
    }
    return yaml_text(content)


def python_code(words: Words, *, of: str) -> str:
    """A script that builds the design and prints the metric."""
    given = {**words.names, **words.arguments}
    lines = [f"    {name}={_literal(value)}," for name, value in given.items()]
    if words.overrides:
        lines.append("    overrides=[")
        lines += [f'        "{p}={text}",' for p, text in words.overrides.items()]
        lines.append("    ],")
    shown = f"cost.{of}" if of in PRINTED else "cost.energy_per_token_server"
    return "\n".join(
        [
            "import codesign as cd",
            "",
            "cd.enable_x64()",
            "design = cd.build_design(",
            *lines,
            ")",
            "cost = cd.evaluate(design)",
            f"print({shown})  # SI units",
            "",
        ]
    )


PRINTED = (
    "energy_per_token",
    "energy_per_token_server",
    "energy_per_token_facility",
    "time_per_output_token",
    "time_to_first_token",
    "throughput",
    "usd_per_token",
    "carbon_per_token",
    "power",
)


def _literal(value: str | int | float) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
