"""What do many designs cost when the constants behind them are not sure?

Cases (a design with the names of its chip and stack) -> every metric at the central
constants and at draws of technology, chip style, price and stack, in one batched call.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

import codesign as cd
from codesign.config.chips import chip_info
from codesign.config.study import Study
from codesign.config.sweep import Axis
from codesign.core.compiler import cpu_options
from codesign.core.paths import get_path, set_path
from codesign.core.record import as_float64
from codesign.cost.record import Cost
from codesign.serving.design import Design, set_parameter
from codesign.study.job import study_of
from codesign.study.points import axis_values
from codesign.study.uncertainty import NORMAL_90, constants_of, spread_axis
from codesign.study.worker import settled_cost

Floats = NDArray[np.float64]
LANES = 256
LEAST = 5e-3  # effect of a constant within its spread, below which it is not named
MOST_RANGE = 100.0  # high over low of constants whose low is zero
GROUPS = ("technology", "chip", "stack")
PRICE = "published.price"
PRICE_PATH = "chip.anchor.price"
COMMON_STACK = "vllm-0.11-h100"
SOFTWARE: dict[str, str | None] = {
    "H100's software for all": COMMON_STACK,
    "perfect software": "ideal",
    "each its own software": None,
}
"""Stacks that comparisons are made under, by title; none is the chip's own."""
HELD = ("technology.datacenter.utilization",)
"""How the service is used, no property of technology: stays as the study says."""


@dataclass(frozen=True)
class Case:
    """A design with the names that its constants are known by.

    ``extra`` goes to the evaluated function beside the design; paths of ``fixed`` are
    not drawn.
    """

    name: str
    design: Design
    chip: str
    stack: str
    extra: tuple[float, ...] = ()
    fixed: tuple[str, ...] = ()


def build_case(
    name: str,
    *,
    chip: str,
    stack: str | None = None,
    extra: tuple[float, ...] = (),
    overrides: Sequence[str] = (),
    **given: Any,
) -> Case:
    """A case of ``codesign.build_design``; without a stack, the chip's own."""
    stack = stack or chip_info(chip).stack
    design = cd.build_design(chip=chip, stack=stack, overrides=overrides, **given)
    return Case(name=name, design=design, chip=chip, stack=stack, extra=extra)


def case_of(study: Study, *, stack: str | None = None) -> Case:
    """The baseline of a study, with another serving stack where one is named."""
    given = study.resolved["baseline"]
    chip = str(given["chip"])
    held = stack or str(given.get("stack") or chip_info(chip).stack)
    design = study.baseline
    if stack is not None:
        design = design.replace(stack=cd.load_stack(stack))
    return Case(name=chip, design=design, chip=chip, stack=held)


def on_stack(case: Case, stack: str | None) -> Case:
    """The case with another serving stack; none is the chip's own."""
    name = stack or str(chip_info(case.chip).stack)
    design = case.design.replace(stack=cd.load_stack(name))
    return replace(case, design=design, stack=name)


def at(case: Case, name: str = "", **changes: float) -> Case:
    """The case with parameters changed; dots of their paths are written ``__``."""
    design = case.design
    for path, value in changes.items():
        place = path.replace("__", ".")
        design = set_parameter(design, place, value=np.asarray(float(value)))
    return replace(case, design=design, name=name or case.name)


def evaluate_cases(
    cases: Sequence[Case],
    *,
    draws: int,
    seed: int = 0,
    function: Callable[..., Any] | None = None,
    groups: Sequence[str] = GROUPS,
) -> list[Any]:
    """The cost of every case; leaves have the central value first, then the draws.

    Draws are shared: a constant takes the same quantile in all cases that hold it, so
    that ratios between cases see only what differs. ``function`` takes a design and
    the array of the case's extra numbers; it is ``evaluate`` at a fixed batch if None.
    """
    run = _compiled(function or _settled)
    lanes = draws + 1
    stacked = [spread(case, draws=draws, seed=seed, groups=groups) for case in cases]
    extras = [np.tile(case.extra, (lanes, 1)) for case in cases]
    whole = jax.tree.map(lambda *leaves: np.concatenate(leaves), *stacked)
    extra = np.concatenate(extras)
    done = [
        jax.device_get(run(part, more))
        for part, more in _groups(whole, extra, count=len(cases) * lanes)
    ]
    found = jax.tree.map(lambda *leaves: np.concatenate(leaves), *done)
    return [
        jax.tree.map(lambda leaf, i=i: leaf[i * lanes : (i + 1) * lanes], found)
        for i in range(len(cases))
    ]


def evaluate_lanes(
    design: Design, extra: Floats, *, function: Callable[..., Any]
) -> Any:
    """A function of designs that have a leading axis already, and of their extras."""
    run = _compiled(function)
    done = [run(part, more) for part, more in _groups(design, extra, count=len(extra))]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *done)


def spread(
    case: Case, *, draws: int, seed: int = 0, groups: Sequence[str] = GROUPS
) -> Design:
    """The design with a leading axis: its own constants first, then the draws."""
    design = as_float64(case.design)
    count = draws + 1
    drawn: Design = jax.tree.map(
        lambda leaf: np.broadcast_to(np.asarray(leaf), (count, *leaf.shape)), design
    )
    named = {"chip": case.chip, "stack": case.stack}
    for path, (group, axis) in (_axes(case, groups) if draws else {}).items():
        key = f"{named.get(group, '')}|{path}"
        values = axis_values(axis, _quantiles(key, draws, seed=seed))
        column = np.concatenate([[float(get_path(design, path))], values])
        drawn = set_path(drawn, path, value=column)
    return _with_prices(drawn, case, draws=draws, seed=seed)


def _axes(case: Case, groups: Sequence[str]) -> dict[str, tuple[str, Axis]]:
    """Group and spread of every constant that is drawn, by path."""
    study = study_of(as_float64(case.design))
    named = {"chip": case.chip, "stack": case.stack}
    found: dict[str, tuple[str, Axis]] = {}
    for group in groups:
        for path, info in constants_of(study, group, named=named).items():
            axis = spread_axis(study, path, info=info)
            if axis is not None and path not in (*HELD, *case.fixed):
                found[path] = (group, axis)
    return found


def _with_prices(drawn: Design, case: Case, *, draws: int, seed: int) -> Design:
    """Prices drawn within the range that the chip's file gives, if it gives one."""
    info = chip_info(case.chip).values.get(PRICE)
    if not draws or info is None or info.low is None or info.high is None:
        return drawn
    low, middle, high = (float(x) for x in (info.low, info.value, info.high))
    normal = ndtri(_quantiles(f"{case.chip}|{PRICE}", draws, seed=seed))
    step = np.where(normal < 0, np.log(middle / low), np.log(high / middle))
    shift = np.concatenate([[0.0], normal * step / NORMAL_90])
    return set_path(drawn, PRICE_PATH, value=get_path(drawn, PRICE_PATH) + shift)


def _quantiles(key: str, count: int, *, seed: int) -> Floats:
    """Strata in an order of their own for every name."""
    generator = np.random.default_rng([seed, zlib.crc32(key.encode())])
    return (generator.permutation(count) + 0.5) / count


def _groups(whole: Design, extra: Floats, *, count: int) -> Any:
    """Lanes in groups of one size, the last filled up with the last lane."""
    index = np.minimum(np.arange(-(-count // LANES) * LANES), count - 1)
    for start in range(0, len(index), LANES):
        chosen = index[start : start + LANES]
        used = min(LANES, count - start)
        part = jax.tree.map(lambda leaf, c=chosen: leaf[c], whole)
        yield _Padded(part, used), extra[chosen]


class _Padded:
    """Lanes of a call and how many of them count."""

    def __init__(self, design: Design, used: int) -> None:
        self.design, self.used = design, used


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    jitted = jax.jit(jax.vmap(function), compiler_options=cpu_options())

    def run(part: _Padded, extra: Floats) -> Any:
        found = jax.device_get(jitted(part.design, jnp.asarray(extra, jnp.float64)))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: part.used], found)

    return run


def _settled(design: Design, extra: jax.Array) -> Cost:
    del extra
    return settled_cost(design, is_open=False)


def column(costs: Sequence[Any], path: str) -> Floats:
    """One metric of several cases: a row per case, a column per draw."""
    return np.stack([np.asarray(get_path(cost, path)) for cost in costs])


def elasticity(case: Case, *, of: str, most: int = 5) -> list[tuple[str, float]]:
    """d ln metric / d ln constant of the constants whose spread moves it most.

    Ranked by elasticity times half the logarithm of high over low.
    """
    axes = _axes(case, GROUPS)
    found = cd.elasticities(case.design, of=of, wrt=list(axes))
    moved = {path: abs(value) * _width(axes[path][1]) for path, value in found.items()}
    ranked = sorted(moved, key=lambda path: -moved[path])
    return [(path, found[path]) for path in ranked[:most] if moved[path] > LEAST]


def half_ranges(case: Case) -> dict[str, float]:
    """Half the logarithm of the range of every constant that is drawn, by path."""
    return {path: _width(axis) for path, (_, axis) in _axes(case, GROUPS).items()}


def range_of(case: Case, path: str) -> tuple[float, float]:
    """The 5 and 95 % quantiles of a constant."""
    low, high = axis_values(_axes(case, GROUPS)[path][1], np.array([0.05, 0.95]))
    return float(low), float(high)


def _width(axis: Axis) -> float:
    """Half the logarithm of the range of a constant."""
    low, high = max(axis.low, axis.high / MOST_RANGE), axis.high
    return 0.5 * float(np.log(high / low))
