"""What has the user set, and which design is that?

Presets and texts with units by dotted path -> ``State`` -> ``Design``, and back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codesign.config.catalogue import list_presets
from codesign.config.chips import chip_info, load_chip, load_system
from codesign.config.design import (
    check_design,
    default_tensor_parallel,
    exact_text,
)
from codesign.config.models import load_model
from codesign.config.overrides import read_override
from codesign.config.stacks import load_stack
from codesign.core.errors import CodesignError, InputError, UnknownNameError
from codesign.core.paths import get_path, nearest, path_units
from codesign.core.record import as_float64
from codesign.serving.design import Design, set_parameter

SAME = 1e-12  # relative difference below which two values are one
DIGITS = 8  # of values that a search found
MOST_VALUES = 400  # a design has about 250 leaves
TIES: dict[str, tuple[str, ...]] = {
    "model.num_layers": (
        "model.num_ffn_layers",
        "model.num_window_layers",
        "model.recurrent.num_layers",
    ),
    "chip.tdp": ("deployment.power_limit",),
    "chip.voltage": ("deployment.decode_voltage", "deployment.prefill_voltage"),
}
"""Leaves that move in proportion with another one, see ``followers``."""
LAYERS = "model.num_layers"
WIDTH = "deployment.tensor_parallel"
NAMES = ("chip", "model", "stack")


@dataclass(frozen=True)
class State:
    """Presets by name, empty where the origin's own stay, and changed values in SI.

    ``source`` is empty for what the explorer was opened with, else the name of the
    run whose best design everything starts from.
    """

    source: str = ""
    chip: str = ""
    model: str = ""
    stack: str = ""
    values: Mapping[str, float] = field(default_factory=dict[str, float])

    def key(self) -> tuple[Any, ...]:
        """Hashable content."""
        return (self.source, self.chip, self.model, self.stack, *self.values.items())


@dataclass(frozen=True)
class Origin:
    """A design to start from, and the presets that it came from where known."""

    design: Design
    chip: str = ""
    model: str = ""
    stack: str = ""


def read_state(data: Any) -> State:
    """The state of plain data; values are texts with units.

    Raises:
        InputError: with every problem, one per line.
    """
    if not isinstance(data, dict):
        raise InputError("state: expected a mapping of names to values.")
    given = data.get("values", {})
    if not isinstance(given, dict) or len(given) > MOST_VALUES:
        raise InputError("state.values: expected a mapping of paths to quantities.")
    names = {name: data.get(name, "") for name in (*NAMES, "source")}
    wrong = [name for name, text in names.items() if not isinstance(text, str)]
    if wrong:
        raise InputError(f"state.{wrong[0]}: expected a name.")
    values: dict[str, float] = {}
    problems: list[str] = []
    for path, text in given.items():
        try:
            values[str(path)] = read_override(str(path), text)
        except CodesignError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    return State(**names, values=values)


def state_texts(state: State) -> dict[str, Any]:
    """Plain data of a state; reads back to the same one."""
    units = path_units(Design)
    return {
        **{name: getattr(state, name) for name in (*NAMES, "source")},
        "values": {
            path: str(exact_text(value, units[path]))
            for path, value in state.values.items()
        },
    }


def place_state(origin: Origin, state: State) -> Design:
    """The design of a state, checked; every leaf a NumPy number.

    Power limit and voltages that stand at those of the chip follow it, as does a
    width of tensor parallelism that would not divide the chips, unless set.

    Raises:
        InputError: an unknown preset, or values that no design may have.
    """
    for kind in NAMES:
        _check_preset(f"{kind}s", getattr(state, kind), own=getattr(origin, kind))
    design = _based(_Held(origin), state.chip, model=state.model, stack=state.stack)
    tied = followers(design, state)
    for path, value in state.values.items():
        design = set_parameter(design, path, value=np.float64(value))
    for path, others in tied.items():
        for other in others if path != LAYERS else ():
            value = get_path(design, path)
            design = set_parameter(design, other, value=value)
    if WIDTH not in state.values and not _divides(design):
        width = np.float64(default_tensor_parallel(design))
        design = set_parameter(design, WIDTH, value=width)
    check_design(design)
    return design


def followers(design: Design, state: State) -> dict[str, tuple[str, ...]]:
    """What moves with each parameter: layers of every kind, limits at the TDP."""
    found = {LAYERS: TIES[LAYERS]}
    for path in ("chip.tdp", "chip.voltage"):
        at = float(get_path(design, path))
        found[path] = tuple(
            other
            for other in TIES[path]
            if other not in state.values and float(get_path(design, other)) == at
        )
    return found


def state_of(origin: Origin, state: State, *, design: Design) -> State:
    """The state with the values of a design that differ from its presets."""
    base = place_state(origin, replace(state, values={}))
    values: dict[str, float] = {}
    layers = float(get_path(design, LAYERS))
    if layers != float(get_path(base, LAYERS)):
        values[LAYERS] = layers
        base = set_parameter(base, LAYERS, value=np.float64(layers))
    for path in path_units(Design):
        new, old = (np.asarray(get_path(each, path)) for each in (design, base))
        if not new.ndim and not np.isclose(float(new), float(old), rtol=SAME, atol=0):
            values[path] = float(f"{float(new):.{DIGITS}g}")
    return replace(state, values=values)


def _check_preset(kind: str, name: str, *, own: str) -> None:
    if name and name != own and name not in list_presets(kind):
        close = ", ".join(nearest(name, list_presets(kind)))
        hint = f" Close: {close}." if close else ""
        raise UnknownNameError(f'{kind}: no preset is called "{name}".{hint}')


class _Held:
    """An origin that a cache can hold, equal to itself only."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin

    def __hash__(self) -> int:
        return id(self.origin.design)

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, _Held) and other.origin.design is self.origin.design
        return bool(same)


@lru_cache(maxsize=64)
def _based(held: _Held, chip: str, *, model: str, stack: str) -> Design:
    """The origin's design with other presets in place."""
    origin = held.origin
    design = origin.design
    if chip and chip != origin.chip:
        design = _on_chip(design, chip)
    if model and model != origin.model:
        deployment = design.deployment.replace(
            draft_tokens=jnp.asarray(0.0), acceptance=jnp.asarray(0.0)
        )
        design = design.replace(
            model=load_model(model), draft=None, deployment=deployment
        )
    if stack:
        design = design.replace(stack=load_stack(stack))
    return jax.device_get(as_float64(design))


def _on_chip(design: Design, name: str) -> Design:
    chip = load_chip(name)
    return design.replace(
        chip=chip,
        system=load_system(name, num_chips=float(design.system.num_chips)),
        stack=load_stack(chip_info(name).stack),
        deployment=design.deployment.replace(
            power_limit=chip.tdp,
            decode_voltage=chip.voltage,
            prefill_voltage=chip.voltage,
        ),
    )


def _divides(design: Design) -> bool:
    deployment = design.deployment
    chips = deployment.tensor_parallel * deployment.pipeline_parallel
    heads = float(design.model.num_heads) % float(deployment.tensor_parallel)
    return float(design.system.num_chips) % float(chips) == 0 and heads == 0
