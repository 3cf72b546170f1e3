"""Which design do a chip, a model and a deployment make, and how is it kept?

Names, files or ready records, and numbers as texts with units -> ``Design``;
``Design`` <-> a YAML file that holds every leaf.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from codesign.config.chips import chip_info, load_chip, load_system
from codesign.config.drafting import with_draft
from codesign.config.faults import design_faults
from codesign.config.models import load_model
from codesign.config.overrides import read_override, split_assignment
from codesign.config.records import build_record, read_values, record_from_values
from codesign.config.stacks import load_stack
from codesign.config.technology import load_technology
from codesign.config.units import format_quantity, parse_quantity
from codesign.config.yaml import Problems, problems_of, read_yaml
from codesign.core.checks import check_x64
from codesign.core.errors import CodesignError, InputError, UnitError, UnknownNameError
from codesign.core.paths import get_path, path_units, set_path
from codesign.core.quantities import Scalar, Unit
from codesign.core.record import Record, as_float64
from codesign.hardware.chip import Anchor, Chip, System
from codesign.model.transformer import Transformer
from codesign.serving.deployment import Deployment
from codesign.serving.design import Design, set_parameter
from codesign.serving.request import Request
from codesign.serving.stack import Stack
from codesign.technology.constants import Technology

Quantity = str | Scalar

PLACES = {
    "num_chips": "system.num_chips",
    "domain_size": "system.domain_size",
    "outer_bandwidth": "system.outer_bandwidth",
    "outer_latency": "system.outer_latency",
    "hops": "system.hops",
    "tensor_parallel": "deployment.tensor_parallel",
    "pipeline_parallel": "deployment.pipeline_parallel",
    "expert_parallel": "deployment.expert_parallel",
    "batch": "deployment.batch",
    "power_limit": "deployment.power_limit",
    "prefill_voltage": "deployment.prefill_voltage",
    "decode_voltage": "deployment.decode_voltage",
    "prompt_length": "request.prompt_length",
    "output_length": "request.output_length",
    "output_variation": "request.output_variation",
    "rate": "request.rate",
    "prefix_hit_fraction": "request.prefix_hit_fraction",
    "lifetime_tokens": "request.lifetime_tokens",
    "draft_tokens": "deployment.draft_tokens",
    "acceptance": "deployment.acceptance",
}
"""Path in the design of every number that ``build_design`` takes."""

NEEDED = ("chip", "model", "prompt_length", "output_length")
ANCHOR = "chip.anchor."
SYSTEM_NAMES = ("domain_size", "outer_bandwidth", "outer_latency", "hops")
_LOADERS: dict[str, tuple[Callable[[str | Path], Any], type[Record]]] = {
    "chip": (load_chip, Chip),
    "model": (load_model, Transformer),
    "draft": (load_model, Transformer),
    "stack": (load_stack, Stack),
}
_EXACT_DIGITS = (3, 6, 12, 17)
_LARGEST_WHOLE = 2.0**53


def build_design(
    *,
    chip: str | Path | Chip,
    model: str | Path | Transformer,
    prompt_length: Quantity,
    output_length: Quantity,
    batch: Quantity | None = None,
    rate: Quantity | None = None,
    num_chips: Quantity | None = None,
    tensor_parallel: Quantity | None = None,
    pipeline_parallel: Quantity | None = None,
    expert_parallel: Quantity | None = None,
    power_limit: Quantity | None = None,
    prefill_voltage: Quantity | None = None,
    decode_voltage: Quantity | None = None,
    output_variation: Quantity | None = None,
    prefix_hit_fraction: Quantity | None = None,
    lifetime_tokens: Quantity | None = None,
    draft: str | Path | Transformer | None = None,
    draft_tokens: Quantity | None = None,
    acceptance: Quantity | None = None,
    stack: str | Path | Stack | None = None,
    technology: Technology | None = None,
    system: System | None = None,
    domain_size: Quantity | None = None,
    outer_bandwidth: Quantity | None = None,
    outer_latency: Quantity | None = None,
    hops: Quantity | None = None,
    overrides: Sequence[str] = (),
) -> Design:
    """A design from names, paths or records; texts carry units, numbers are SI.

    Exactly one of ``batch`` (closed loop) and ``rate`` (open loop) is given;
    with a rate, ``evaluate`` finds the batch. Defaults: one chip; as much
    tensor parallelism as divides chips and heads and stays inside the domain of
    fast links; no pipeline or expert parallelism; the power limit is the TDP,
    voltages are the chip's, the stack and the system are those of the chip.
    With a ``draft`` model, ``draft_tokens`` (4) guesses are verified per step, and
    ``acceptance`` follows from the loss of both models unless it is given.
    ``overrides`` are ``path=value`` texts, applied before defaults are chosen.

    Raises:
        InputError: with every problem, one per line.
        Float64DisabledError: 64-bit floats are off.

    Example:
        >>> import codesign.core.checks
        >>> codesign.core.checks.enable_x64()
        >>> design = build_design(
        ...     chip="h100-sxm", num_chips=8, model="llama-3-70b",
        ...     batch=64, prompt_length=1024, output_length=256,
        ...     power_limit="500 W",
        ... )
        >>> float(design.deployment.tensor_parallel)
        8.0
    """
    given = {name: value for name, value in locals().items() if value is not None}
    assignments = given.pop("overrides")
    pairs = dict(split_assignment(text) for text in assignments)
    problems = Problems(file="design")
    maker = Draft(given, problems=problems, overrides=pairs, allow_bare=True)
    design = maker.design()
    problems.raise_if_any()
    if design is None:
        raise InputError(problems.text())
    return design


@dataclass
class Draft:
    """A design in the making: what is given, and where problems are noted.

    ``places`` says under which path a problem with an argument is reported,
    ``folder`` what relative files are relative to. ``allow_bare`` lets numbers
    stand for SI values; a text needs its unit in any case.
    """

    given: Mapping[str, Any]
    problems: Problems
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any])
    places: Mapping[str, str] = field(default_factory=dict[str, str])
    override_place: str = ""
    folder: Path | None = None
    allow_bare: bool = False

    def design(self) -> Design | None:
        """The design, or None with problems noted."""
        check_x64()
        before = len(self.problems.found)
        for name in [name for name in NEEDED if name not in self.given]:
            self.problems.add(self.place(name), "is missing.")
        parts = self._parts()
        values = self._numbers() | self._overridden()
        self._check_load(values)
        if len(self.problems.found) > before:
            return None
        design = _with_values(parts, values)
        design = with_draft(design, self.problems, place=self.place)
        for path, message in design_faults(design).items():
            self.problems.add(self._place_of(path), message)
        return design if len(self.problems.found) == before else None

    def place(self, name: str) -> str:
        """Where a problem with an argument is reported."""
        return self.places.get(name, name)

    def _place_of(self, path: str) -> str:
        if path in self.overrides:
            return f"{self.override_place}{path}"
        names = [name for name, place in PLACES.items() if place == path]
        return self.place(names[0]) if names and names[0] in self.given else path

    def _numbers(self) -> dict[str, Any]:
        units = path_units(Design)
        values: dict[str, Any] = {}
        for name, path in PLACES.items():
            if name in self.given:
                value = self._number(name, units[path])
                if value is not None:
                    values[path] = value
        return values

    def _number(self, name: str, unit: Unit) -> float | None:
        text, place = self.given[name], self.place(name)
        try:
            if isinstance(text, (bool, str)) or not self.allow_bare:
                return parse_quantity(text, unit, name=place)
            return parse_quantity(float(text), unit, name=place, allow_bare=True)
        except UnitError as error:
            self.problems.add(place, str(error).removeprefix(f"{place}: "))
        except (TypeError, ValueError):
            self.problems.add(place, f"expected a quantity, found {text!r}.")
        return None

    def _overridden(self) -> dict[str, float]:
        values: dict[str, float] = {}
        for path, text in self.overrides.items():
            try:
                values[path] = read_override(path, text)
            except CodesignError as error:
                message = str(error).removeprefix(f"{path}: ")
                self.problems.add(f"{self.override_place}{path}", message)
        return values

    def _check_load(self, values: Mapping[str, float]) -> None:
        read = [name for name in ("batch", "rate") if PLACES[name] in values]
        if any(n in self.given and n not in read for n in ("batch", "rate")):
            return
        place = self.place("batch")
        if values.get(PLACES["rate"], 0.0) > 0:
            if "batch" in read:
                message = "give batch (closed loop) or rate (open loop), not both."
                self.problems.add(place, message)
        elif "batch" not in read:
            self.problems.add(
                place,
                "give either batch, such as 64 (closed loop), or rate, such as "
                '"4 req/s" (open loop).',
            )

    def _parts(self) -> dict[str, Any]:
        chip = self._part("chip")
        parts: dict[str, Any] = {
            "chip": chip,
            "model": self._part("model"),
            "draft": self._part("draft"),
            "technology": self.given.get("technology") or load_technology(),
            "system": self.given.get("system"),
        }
        if chip is None:
            return parts
        named = not isinstance(self.given["chip"], Chip)
        if named and parts["system"] is None:
            parts["system"] = load_system(self._located("chip"), num_chips=1)
        elif parts["system"] is None:
            lacking = [name for name in SYSTEM_NAMES if name not in self.given]
            if lacking:
                self.problems.add(
                    self.place("system"),
                    f"a chip given as a record has no system of its own. Give "
                    f"system=, or {', '.join(lacking)}.",
                )
        parts["stack"] = self._stack(named=named)
        return parts

    def _stack(self, *, named: bool) -> Stack | None:
        if "stack" in self.given:
            return self._part("stack")
        if named:
            return load_stack(chip_info(self._located("chip")).stack)
        self.problems.add(
            self.place("stack"), "a chip given as a record has no stack; give stack=."
        )
        return None

    def _part(self, name: str) -> Any:
        load, record_type = _LOADERS[name]
        given = self.given.get(name)
        if given is None or isinstance(given, record_type):
            return given
        if not isinstance(given, (str, Path)):
            kind = record_type.__name__
            self.problems.add(
                self.place(name),
                f"expected a name, a file or a {kind}, found {given!r}.",
            )
            return None
        try:
            return load(self._located(name))
        except UnknownNameError as error:
            message = str(error).partition(": ")[2] or str(error)
            self.problems.add(self.place(name), message)
        except CodesignError as error:
            self.problems.add(self.place(name), str(error))
        return None

    def _located(self, name: str) -> str | Path:
        return locate(self.given[name], self.folder)


def locate(name: str | Path, folder: Path | None) -> str | Path:
    """A file or folder beside the one that names it; else the name as it is."""
    beside = folder / name if folder is not None else None
    return beside if beside is not None and beside.exists() else name


def _with_values(parts: Mapping[str, Any], values: Mapping[str, float]) -> Design:
    """The design of the parts at the given values, with defaults for the others."""
    alone = dict.fromkeys(path_units(System), 0.0) | {"num_chips": 1.0}
    design = Design(
        chip=parts["chip"],
        system=parts["system"] or System(**alone),
        model=parts["model"],
        deployment=Deployment(**dict.fromkeys(path_units(Deployment), 0.0)),
        request=Request(**dict.fromkeys(path_units(Request), 0.0)),
        stack=parts["stack"],
        draft=parts["draft"],
        technology=parts["technology"],
    )
    for path, value in values.items():
        design = set_parameter(design, path, value=value)
    defaults: dict[str, Scalar] = {
        "deployment.pipeline_parallel": 1.0,
        "deployment.expert_parallel": 1.0,
        "deployment.batch": 1.0,
        "deployment.power_limit": design.chip.tdp,
        "deployment.prefill_voltage": design.chip.voltage,
        "deployment.decode_voltage": design.chip.voltage,
    }
    for path in [path for path in defaults if path not in values]:
        design = set_path(design, path, value=defaults[path])
    if "deployment.tensor_parallel" not in values:
        widest = float(default_tensor_parallel(design))
        design = set_path(design, "deployment.tensor_parallel", value=widest)
    return as_float64(design)


def default_tensor_parallel(design: Design) -> int:
    """Largest degree that divides chips per stage and heads, inside one domain."""
    stages = max(1, int(design.deployment.pipeline_parallel))
    chips = int(design.system.num_chips) // stages
    heads, domain = int(design.model.num_heads), int(design.system.domain_size)
    legal = [
        degree
        for degree in range(1, min(chips, domain, heads) + 1)
        if chips % degree == 0 and heads % degree == 0
    ]
    return max(legal, default=1)


def exact_text(value: float, unit: Unit) -> str | int | float:
    """Shortest text of a value with its unit that reads back to the same float.

    Example:
        >>> exact_text(3.35e12, Unit("B/s")), exact_text(64.0, Unit("1"))
        ('3.35 TB/s', 64)
    """
    if unit.text == "1":
        whole = value.is_integer() and abs(value) < _LARGEST_WHOLE
        return int(value) if whole else value
    exact = f"{value!r} {unit.text}"
    texts = [format_quantity(value, unit, digits=digits) for digits in _EXACT_DIGITS]
    same = [text for text in texts if parse_quantity(text, unit) == value]
    return min([*same, exact], key=len)


def design_to_dict(design: Design) -> dict[str, Any]:
    """Every leaf as an exact text with its unit, nested like the records.

    Tables are lists of texts; pure numbers stay numbers.
    """
    nested: dict[str, Any] = {}
    draft = {} if design.draft is None else path_units(Transformer)
    own = {f"draft.{path}": unit for path, unit in draft.items()}
    for path, unit in {**path_units(Design), **own}.items():
        values = np.asarray(get_path(design, path), np.float64)
        if not np.all(np.isfinite(values)):
            raise InputError(f"{path}: {values} is not finite and cannot be kept.")
        texts = [exact_text(float(value), unit) for value in np.ravel(values)]
        *sections, name = path.split(".")
        below = nested
        for section in sections:
            below = below.setdefault(section, {})
        below[name] = texts if values.ndim else texts[0]
    return nested


def save_design(design: Design, path: str | Path, *, comment: str = "") -> None:
    """Write every leaf of a design to a YAML file, under a comment."""
    content = design_to_dict(design)
    with Path(path).open("w", encoding="utf-8") as file:
        file.writelines(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
        YAML().dump(content, file)


def load_design(path: str | Path) -> Design:
    """The design of a file that ``save_design`` wrote.

    A residual of the chip's anchor that the file does not have is 0: as derived.

    Raises:
        InputError: with file and line of every unknown, missing or bad entry.
    """
    check_x64()
    given = Path(path)
    if not given.is_file():
        raise InputError(f"{given}: no such file.")
    document = read_yaml(given)
    problems = problems_of(document)
    data = dict(document.data)
    drafted = data.pop("draft", None)
    derived = {f"{ANCHOR}{each.name}": 0.0 for each in fields(Anchor)}
    infos = read_values(
        Design, data, problems=problems, prefix="", optional=set(derived)
    )
    draft = None
    if drafted is not None:
        draft = build_record(Transformer, drafted, problems=problems, prefix="draft")
    problems.raise_if_any()
    values = {path: info.value for path, info in infos.items()}
    return record_from_values(Design, derived | values).replace(draft=draft)


def check_design(design: Design) -> None:
    """Raise unless every leaf is possible and the placement is legal.

    Raises:
        InputError: with every fault, one per line.
    """
    problems = Problems(file="design")
    for path, message in design_faults(design).items():
        problems.add(path, message)
    problems.raise_if_any()
