"""A decode step that is a geometric program: the search against cvxpy.

The package's own roofline, energy, silicon, memory and limits of a dense decode step
are posynomials of the chip's sizes, the batch and the period of the step, and of
p-norms of posynomials, where the supply is held and SRAM grows with the multipliers.
Coefficients are read off the package, and their sums compared with it. The power of
a step as short as its work is no posynomial, hence the period. The governor, steps
with prompts, yield, price, and the edge of the die are none either and stay out.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy.optimize import nnls

from codesign.core.compiler import jitted
from codesign.core.paths import get_path
from codesign.cost.energy import energy_bill
from codesign.cost.limits import limits
from codesign.cost.residency import memory
from codesign.cost.step import step_detail, step_work, total
from codesign.hardware.silicon import silicon
from codesign.hardware.voltage import operating_point
from codesign.optimize.interior import interior_solver
from codesign.optimize.lagrangian import Start, descender
from codesign.optimize.problem import Problem
from codesign.serving.design import Design, set_parameter
from codesign.serving.load import decode_step, design_load
from tests.physics.designs import SHARPNESS, study_baseline

PATHS = {
    "cores": ("chip.compute.macs", "chip.sram.capacity", "chip.sram.bandwidth"),
    "bandwidth": ("chip.dram.bandwidth",),
    "stacks": ("chip.dram.stacks",),
    "links": ("chip.link.bandwidth",),
    "batch": ("deployment.batch",),
}
"""What each variable multiplies in the baseline."""

VARIABLES = (*PATHS, "period")
# Factors on the baseline, and seconds. Above 128 sequences a step leaves the captured
# graphs, whose share of the steps is no posynomial.
LOW = np.log([0.0625, 0.25, 0.25, 0.25, 0.25, 2e-3])
HIGH = np.log([4.0, 4.0, 4.0, 4.0, 2.0, 0.2])
ASKED = ("period", "power", "area")
KEPT = ("step", "memory", "pins")
PROBLEM = Problem(paths=VARIABLES, minimize="energy", limits=(), always=(*ASKED, *KEPT))
LANES = 64
TOLERANCE = 1e-6  # of cvxpy's certificate, ln
TIMES = ("compute", "dram", "sram", "vector")

Values = Mapping[str, Any]  # arrays of NumPy, or variables of cvxpy
Terms = Callable[[Values], list[Any]]


def padded(x: Values) -> Any:
    """Rows of a matrix product, up to a whole tile, in those of the baseline."""
    base = study_baseline()
    tile = float(base.chip.style.tile_rows / base.deployment.batch)
    return (tile**SHARPNESS + x["batch"] ** SHARPNESS) ** (1 / SHARPNESS)


def sizes(x: Values) -> list[Any]:
    return [1.0, x["cores"], x["stacks"], x["links"]]


TERMS: dict[str, Terms] = {
    "compute": lambda x: [x["batch"] / x["cores"], padded(x) / x["cores"]],
    "dram": lambda x: [1 / x["bandwidth"], x["batch"] / x["bandwidth"]],
    "sram": lambda x: [x["batch"] / x["cores"]],
    "vector": lambda x: [x["batch"] / x["cores"]],
    "apart": lambda x: [1.0, x["batch"], x["batch"] / x["links"]],
    "moved": lambda x: [1.0, x["batch"], padded(x)],
    "active": sizes,
    "static": sizes,
    "area": sizes,
    "memory": lambda x: [x["batch"] ** n / x["stacks"] for n in (0, 0.5, 1)],
    "pins": lambda x: [x["bandwidth"] / x["stacks"]],
}
"""Monomials, and powers of sums, that each part of the package is a sum of."""


def design_at(values: Array, base: Design) -> Design:
    design = base
    for paths, value in zip(PATHS.values(), values, strict=False):
        for path in paths:
            design = set_parameter(design, path, value=get_path(base, path) * value)
    return design


def evaluate(values: Array, base: Design) -> tuple[dict[str, Array], dict[str, Array]]:
    """The package's answer: parts that are sums of ``TERMS``, and what is asked."""
    design, period = design_at(values, base), values[-1]
    chip, batch = design.chip, design.deployment.batch
    built = silicon(chip, design.technology, sharpness=SHARPNESS)
    load = design_load(design)
    held = memory(design, load, built=built, sharpness=SHARPNESS)
    done = step_work(
        design, decode_step(load), built=built, memory=held, sharpness=SHARPNESS
    )
    step = step_detail(
        design, done, built=built, drive=chip.voltage, sharpness=SHARPNESS
    )
    busy = jnp.sum(step.times.roofline)
    joules = energy_bill(
        done.joules,
        built=built,
        point=operating_point(chip, chip.voltage, sharpness=SHARPNESS),
        passes=done.step.shard.microbatches,
        busy=busy,
        duration=period,
        activity=design.stack.active_power_factor,
    )
    power = total(joules) / period
    kept = limits(
        design,
        built,
        memory=held,
        decode_power=power,
        prefill_power=power,
        sharpness=SHARPNESS,
    )
    alone = {name: getattr(step.times, name) for name in TIMES}
    alone["vector"] *= done.alone.factor
    parts = {
        **alone,
        "apart": step.cost.duration - busy,
        "moved": total(joules) - joules.active - joules.static,
        "active": joules.active / busy,
        "static": joules.static / period,
        "area": built.area,
        "memory": jnp.exp(kept.memory),
        "pins": jnp.exp(kept.dram_pins),
    }
    answer = {
        "energy": design.system.num_chips * total(joules) / batch,
        "period": period,
        "power": power,
        "step": step.cost.duration / period,
        **{name: parts[name] for name in ("area", "memory", "pins")},
    }
    return parts, answer


@cache
def evaluator() -> Callable[..., Any]:
    return jitted(level=0)(jax.vmap(evaluate, in_axes=(0, None)))


def draws(seed: int, *, count: int) -> np.ndarray:
    unit = np.random.default_rng(seed).uniform(size=(count, len(VARIABLES)))
    return np.exp(LOW + unit * (HIGH - LOW))


def named(values: np.ndarray) -> Values:
    return dict(zip(VARIABLES, values.T, strict=True))


@cache
def coefficients() -> dict[str, np.ndarray]:
    """Coefficients of every part by row and term, from a few designs."""
    values = draws(0, count=32)
    parts, _ = jax.device_get(evaluator()(values, study_baseline()))
    found = {}
    for name, terms in TERMS.items():
        columns = np.column_stack(np.broadcast_arrays(*terms(named(values))))
        rows = parts[name].reshape(len(values), -1).T
        found[name] = np.array([_fit(columns, row) for row in rows])
    return found


def _fit(columns: np.ndarray, row: np.ndarray) -> np.ndarray:
    if not np.any(row):
        return np.zeros(columns.shape[1])
    relative = columns / row[:, None]
    largest = np.max(relative, axis=0)
    found, _ = nnls(relative / largest, np.ones(len(row)))
    return np.where(found < 1e-12, 0.0, found / largest)


def geometric(x: Values) -> dict[str, Any]:
    """The same answer as generalised posynomials, of arrays or of variables."""
    given, forms = coefficients(), {name: form(x) for name, form in TERMS.items()}

    def part(name: str, *, row: int = 0, unit: float = 1.0) -> Any:
        pairs = zip(given[name][row], forms[name], strict=True)
        return sum(float(c / unit) * term for c, term in pairs if c > 0)

    def roofline(row: int) -> Any:
        unit = sum(np.sum(given[name][row]) for name in TIMES)
        used = [name for name in TIMES if np.any(given[name][row])]
        powers = [part(name, row=row, unit=unit) ** SHARPNESS for name in used]
        return float(unit) * sum(powers) ** (1 / SHARPNESS)

    rows = np.flatnonzero(np.any(given["dram"], axis=1))
    busy = sum(roofline(row) for row in rows)
    rest = part("moved") + part("active") * busy
    chips = float(study_baseline().system.num_chips)
    batch = float(study_baseline().deployment.batch) * x["batch"]
    return {
        "energy": chips * (rest + part("static") * x["period"]) / batch,
        "period": x["period"],
        "power": rest / x["period"] + part("static"),
        "step": (busy + part("apart")) / x["period"],
        **{name: part(name) for name in ("area", "memory", "pins")},
    }


def test_the_posynomials_are_the_package():
    values = draws(1, count=32)
    _, answer = jax.device_get(evaluator()(values, study_baseline()))
    for name, found in geometric(named(values)).items():
        np.testing.assert_allclose(found, answer[name], rtol=1e-9, err_msg=name)


def questions() -> np.ndarray:
    """Limits that some design inside the box keeps by a few per cent."""
    values = draws(2, count=32 * LANES)
    x = named(values)
    x["cores"] = np.sqrt(np.exp(LOW[0]) * x["cores"])
    x["period"] = 1.1 * geometric(x)["step"] * x["period"]
    met = geometric(x)
    fits = (met["memory"] < 1) & (met["pins"] < 1)
    return 1.02 * np.column_stack([met[name] for name in ASKED])[fits][:LANES]


def certified(asked: np.ndarray) -> np.ndarray:
    """Least energy per token of every question, by cvxpy."""
    x = {name: cp.Variable(pos=True, name=name) for name in VARIABLES}
    bounds = {name: cp.Parameter(pos=True, name=name) for name in ASKED}
    found = geometric(x)
    boxes = zip(x.values(), np.exp(LOW), np.exp(HIGH), strict=True)
    program = cp.Problem(
        cp.Minimize(found["energy"]),
        [found[name] <= bounds[name] for name in ASKED]
        + [found[name] <= 1 for name in KEPT]
        + [inside for v, low, high in boxes for inside in (v >= low, v <= high)],
    )
    names = ("tol_feas", "tol_gap_abs", "tol_gap_rel")
    options = {"solver": cp.CLARABEL, **dict.fromkeys(names, TOLERANCE)}
    least = []
    for row in asked:
        for name, value in zip(ASKED, row, strict=True):
            bounds[name].value = value
        least.append(program.solve(gp=True, **options))
        assert program.status == cp.OPTIMAL
    return np.log(least)


@pytest.fixture
def decode_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own functions in place of the whole cost model."""

    def values_and_constraints(
        _: Problem, point: Array, *, theta: Design, bounds: Array, **__: object
    ) -> tuple[Array, Array]:
        _, answer = evaluate(jnp.exp(LOW + point * (HIGH - LOW)), theta)
        asked = [jnp.log(answer[n] / b) for n, b in zip(ASKED, bounds, strict=True)]
        kept = [jnp.log(answer[name]) for name in KEPT]
        return jnp.log(answer["energy"]), jnp.stack([*asked, *kept])

    module = import_module("codesign.optimize.lagrangian")
    monkeypatch.setattr(module, "values_and_constraints", values_and_constraints)


@pytest.mark.usefixtures("decode_step_alone")
def test_a_decode_step_ends_at_its_certified_optimum():
    asked = questions()
    weights = np.zeros((LANES, 1 + len(PROBLEM.always)))
    weights[:, 0] = 1.0
    shape = (LANES, len(VARIABLES))
    start = Start(
        points=np.random.default_rng(3).uniform(size=shape),
        free=np.ones(shape, bool),
        margin=np.zeros(LANES),
        bounds=asked,
        weights=weights,
    )
    lanes = descender(PROBLEM)(start, study_baseline())
    ends = start.replace(points=lanes.points)
    found = interior_solver(PROBLEM)(ends, study_baseline(), iterations=200)
    gaps = np.asarray(found.objective) - certified(asked)
    assert np.max(found.constraints) < 1e-8
    assert np.min(gaps) > -2 * TOLERANCE
    assert np.mean(gaps < 1e-5) >= 0.99, np.sort(gaps)[-3:]
    binds = np.mean(np.asarray(found.multipliers) > 1e-3, axis=0)
    assert np.all(binds[: len(ASKED)] > 0), binds
