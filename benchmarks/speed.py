"""How fast are compilation, evaluation, gradients and a whole search here?

This machine -> benchmarks/results/speed.csv and speed.md.

    python benchmarks/speed.py            # the committed setting, some minutes
    python benchmarks/speed.py --small    # a look, about two minutes

Variants of one quantity are interleaved in one process, so that their ratios
hold on a loaded machine; levels do not. The load average stands in each row.
"""

import argparse
import csv
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import codesign as cd
from codesign.config.quality import load_quality_constants, load_quality_draws
from codesign.config.question import Study
from codesign.config.study import load_study
from codesign.core.compiler import cpu_options
from codesign.core.record import as_float64
from codesign.cost.evaluate import evaluate
from codesign.optimize import optimize
from codesign.optimize.climber import Climber
from codesign.optimize.discrete import FEASIBLE
from codesign.optimize.engine import REFINING
from codesign.optimize.front import non_dominated
from codesign.optimize.interior import interior_solver
from codesign.optimize.lagrangian import Schedule, Start, descender
from codesign.optimize.problem import (
    Problem,
    Theta,
    build_problem,
    build_theta,
    hard_evaluator,
    puller,
    values_and_constraints,
)
from codesign.optimize.space import build_space
from codesign.quality.ensemble import SEARCH_DRAWS, reference_under

RESULTS = Path(__file__).resolve().parent / "results"
SHARPNESS = 256.0
LANES = (16, 64, 256, 1024, 2048)
THREADS = (1, 2)
COMPARED = (256, 1024)  # lanes at which kinds of evaluation take turns
SEARCH_STARTS = 64
GRID = (  # variables of the space that is enumerated
    "chip.sram.capacity",
    "chip.dram.bandwidth",
    "chip.compute.macs",
    "chip.tdp",
    "deployment.batch",
    "deployment.decode_voltage",
    "deployment.prefill_voltage",
)
PART = 2**17  # designs of the grid that are held at once
LARGE = 1024  # designs of the grid that are evaluated together


@dataclass(frozen=True)
class Row:
    """One measured quantity; ``value`` is the median of ``rounds``."""

    what: str
    variant: str
    value: float
    unit: str
    low: float
    high: float
    rounds: int
    cpu_seconds: float
    load: float


@dataclass(frozen=True)
class Setting:
    """How much is measured; ``values`` are those of each variable of the grid."""

    designs: int
    rounds: int
    lanes: tuple[int, ...]
    steps: int
    values: int


FULL = Setting(designs=8192, rounds=7, lanes=LANES, steps=60, values=9)
SMALL = Setting(designs=512, rounds=2, lanes=(64, 256), steps=5, values=3)


class Clock:
    """Wall and processor time since it was made."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Seconds of wall and of processor."""
        return time.perf_counter() - self.wall, time.process_time() - self.cpu


def load_average() -> float:
    """Mean number of running processes over the last minute; NaN where unknown."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def once(what: str, variant: str, *, call: Callable[[], Any]) -> tuple[Row, Any]:
    """Seconds of one call, and what it returned."""
    load, clock = load_average(), Clock()
    found = call()
    wall, cpu = clock.read()
    return Row(what, variant, wall, "s", wall, wall, 1, cpu, load), found


def lowered(function: Any, *, level: int = 1) -> Any:
    """The function inside ``jitted``, as a jit that can be traced without running."""
    return jax.jit(function.__wrapped__, compiler_options=cpu_options(level=level))


def compile_times(study: Study) -> tuple[list[Row], Theta, dict[str, Any]]:
    """Seconds to trace and to compile each function of the search, nothing cached."""
    space = build_space(study)
    problem = build_problem(study, space)
    bounds = np.array([1e9 if x.baseline else (x.value or 0.0) for x in study.limits])
    theta = build_theta(
        study, space, constants=as_float64(load_quality_constants()), bounds=bounds
    )
    width, limits = len(space.paths), len(problem.constraint_names)
    start = _start(np.full((64, width), 0.5), theta, limits=limits)
    gradient = jax.grad(lambda point, theta: _scalar(problem, point, theta=theta))
    jobs: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
        "hard values": (lowered(hard_evaluator(problem)), (start.points, theta), {}),
        "gradient": (
            jax.jit(
                jax.vmap(gradient, in_axes=(0, None)), compiler_options=cpu_options()
            ),
            (start.points, theta),
            {},
        ),
        "descent": (lowered(descender(problem, Schedule())), (start, theta), {}),
        "interior point": (
            lowered(interior_solver(problem)),
            (start, theta),
            {"iterations": REFINING},
        ),
        "gradient in all constants": (
            lowered(puller(problem, sharpness=SHARPNESS), level=0),
            (start.points[0], theta),
            {"weights": np.zeros(limits + 1)},
        ),
    }
    rows, compiled = [], {}
    for name, (function, arguments, named) in jobs.items():
        row, traced = once(
            "trace", name, call=partial(function.lower, *arguments, **named)
        )
        rows.append(row)
        row, _ = once("compile", name, call=traced.compile)
        rows.append(row)
        compiled[name] = function
    row, _ = once(
        "first call", "evaluate", call=lambda: evaluate(as_float64(study.baseline))
    )
    return [*rows, row], theta, compiled


def _start(points: np.ndarray, theta: Theta, *, limits: int) -> Start:
    """Lanes that minimise the objective, every variable free."""
    count = len(points)
    return Start(
        points=points,
        free=np.ones(points.shape, bool),
        margin=np.zeros(count),
        bounds=np.tile(np.asarray(theta.bounds), (count, 1)),
        weights=np.eye(1, limits + 1).repeat(count, axis=0),
    )


def _scalar(problem: Any, point: jax.Array, *, theta: Theta) -> jax.Array:
    objective, constraints = values_and_constraints(
        problem, point, theta=theta, sharpness=SHARPNESS
    )
    return objective + jnp.sum(jnp.maximum(constraints, 0.0))


def throughputs(
    study: Study, theta: Theta, *, compiled: dict[str, Any], setting: Setting
) -> Iterator[Row]:
    """Designs per second by lanes of a group and number of threads."""
    space = build_space(study)
    problem = build_problem(study, space)
    width = len(space.paths)
    points = np.random.default_rng(0).uniform(size=(setting.designs, width))
    short = lowered(descender(problem, Schedule(rounds=1, steps=setting.steps)))

    def descend(group: np.ndarray, theta: Theta) -> Any:
        limits = len(problem.constraint_names)
        return short(_start(group, theta, limits=limits), theta)

    work = {
        "values": (compiled["hard values"], setting.designs, 1),
        "gradients": (compiled["gradient"], setting.designs // 2, 1),
        "descent steps": (descend, setting.designs // 4, setting.steps),
    }
    for what, (function, count, repeats) in work.items():
        lanes = [n for n in setting.lanes if n <= count]
        variants = {
            f"{size} lanes, {threads} thread{'s' * (threads > 1)}": partial(
                _run, function, points[:count], theta=theta, size=size, threads=threads
            )
            for size, threads in product(lanes, THREADS)
        }
        yield from interleaved(
            what, variants, amount=count * repeats, rounds=setting.rounds
        )


def costs(study: Study, *, setting: Setting) -> Iterator[Row]:
    """Hard, smooth, with draws of quality, gradient: all take turns in one group."""
    space = build_space(study)
    drawn = replace(
        study,
        limits=tuple(
            replace(x, quantile=0.9) if x.metric == "quality.gap" else x
            for x in study.limits
        ),
    )
    bounds = np.array([1e9 if x.baseline else (x.value or 0.0) for x in study.limits])
    constants = as_float64(load_quality_constants())
    few = jax.jit(reference_under, compiler_options=cpu_options(level=0))(
        load_quality_draws(count=SEARCH_DRAWS), as_float64(study.reference), own=None
    )
    plain = (
        build_problem(study, space),
        build_theta(study, space, constants=constants, bounds=bounds),
    )
    sure = (
        build_problem(drawn, space),
        build_theta(
            drawn, space, constants=constants, bounds=bounds, few=few, many=few
        ),
    )
    kinds = {
        "hard": (_values(plain[0], None), plain[1]),
        "smooth": (_values(plain[0], SHARPNESS), plain[1]),
        f"smooth, {SEARCH_DRAWS} draws": (_values(sure[0], SHARPNESS), sure[1]),
        "gradient": (_gradients(plain[0]), plain[1]),
    }
    points = np.random.default_rng(0).uniform(size=(setting.designs, len(space.paths)))
    for lanes in [n for n in COMPARED if n <= setting.designs]:
        variants = {
            f"{name}, {lanes} lanes": partial(
                _run, function, points, theta=theta, size=lanes, threads=len(THREADS)
            )
            for name, (function, theta) in kinds.items()
        }
        yield from interleaved(
            "kinds of evaluation",
            variants,
            amount=setting.designs,
            rounds=setting.rounds,
        )


def _values(problem: Problem, sharpness: float | None) -> Any:
    def one(point: jax.Array, theta: Theta) -> Any:
        return values_and_constraints(problem, point, theta=theta, sharpness=sharpness)

    batch = jax.vmap(one, in_axes=(0, None))
    return jax.jit(batch, compiler_options=cpu_options())


def _gradients(problem: Problem) -> Any:
    def one(point: jax.Array, theta: Theta) -> Any:
        return jax.grad(lambda x: _scalar(problem, x, theta=theta))(point)

    batch = jax.vmap(one, in_axes=(0, None))
    return jax.jit(batch, compiler_options=cpu_options())


def _run(
    function: Callable[..., Any],
    points: np.ndarray,
    *,
    theta: Theta,
    size: int,
    threads: int,
) -> None:
    groups = points.reshape(-1, size, points.shape[1])
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda g: jax.block_until_ready(function(g, theta)), groups))


def interleaved(
    what: str,
    variants: dict[str, Callable[[], Any]],
    *,
    amount: int,
    rounds: int,
) -> Iterator[Row]:
    """Rates of variants that take turns; the first turn, which compiles, is dropped."""
    rates: dict[str, list[float]] = {name: [] for name in variants}
    used: dict[str, list[float]] = {name: [] for name in variants}
    loads: list[float] = []
    for turn in range(rounds + 1):
        for name, call in variants.items():
            clock = Clock()
            call()
            wall, cpu = clock.read()
            if turn:
                rates[name].append(amount / wall)
                used[name].append(cpu)
        loads.append(load_average())
    load = statistics.median(loads[1:])
    for name, found in rates.items():
        yield Row(
            what=what,
            variant=name,
            value=statistics.median(found),
            unit="1/s",
            low=min(found),
            high=max(found),
            rounds=rounds,
            cpu_seconds=statistics.median(used[name]) / amount,
            load=load,
        )


def enumeration(study: Study, *, values: int) -> Row:
    """Seconds to evaluate every design of a grid and to find its front.

    Half of each variable's values run from a quarter of the baseline's up to it, the
    other half from there to four times as much, as far as its range goes. The front is
    that of the objective and the first limit, among the designs that keep all limits
    but those that refer to a tuned baseline.
    """
    climber = Climber(study, lambda _: None)
    space = climber.space
    columns = [space.paths.index(path) for path in GRID]
    start = climber.as_given().values
    least, most = np.exp(space.low), np.exp(space.high)
    ends = np.clip([start / 4, start * 4], least, most)
    half = values // 2
    below = np.geomspace(ends[0], start, half, endpoint=False)
    axes = np.concatenate([below, np.geomspace(start, ends[1], half + 1)])[:, columns]
    count, hard = values ** len(columns), hard_evaluator(climber.problem)

    def outcomes(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        designs = np.tile(start, (len(places), 1))
        digits = places[:, None] // values ** np.arange(len(columns)) % values
        designs[:, columns] = np.take_along_axis(axes, digits, axis=0)
        return climber.engine.batched(
            lambda points: hard(points, climber.theta),
            space.encode(designs),
            size=LARGE,
        )

    def run() -> int:
        front = np.zeros((0, 2))
        parts = np.split(np.arange(count), range(PART, count, PART))
        with ThreadPoolExecutor(len(THREADS)) as pool:  # one prepares, one waits
            for objective, constraints in pool.map(outcomes, parts):
                legal = np.max(constraints, axis=1) <= FEASIBLE
                found = np.stack([objective, constraints[:, 0]], axis=1)[legal]
                front = np.concatenate([front, found])
                front = front[non_dominated(front)]
        return len(front)

    outcomes(np.zeros(1, int))
    climber.engine.wait()
    row, size = once("enumeration", f"{count:,} designs", call=run)
    return replace(row, variant=f"{row.variant}, {size} on the front")


def searches(starts: int) -> Iterator[Row]:
    """Seconds of a whole search: compilation, tuning, joint search, evidence."""
    study = load_study("joint_chat", overrides=[f"search.starts={starts}"])
    row, result = once("optimize", f"{starts} starts", call=partial(optimize, study))
    yield row
    for rung in result.rungs[1:]:
        before = 0.0
        for entry in rung.trace:
            seconds = entry["seconds"] - before
            before = entry["seconds"]
            yield Row(
                what=f"search of {rung.name}",
                variant=entry["stage"],
                value=seconds,
                unit="s",
                low=seconds,
                high=seconds,
                rounds=1,
                cpu_seconds=float("nan"),
                load=row.load,
            )


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """All rows with the names of their fields."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([field.name for field in fields(Row)])
        for row in rows:
            cells = [f"{x:.4g}" if isinstance(x, float) else x for x in astuple(row)]
            writer.writerow(cells)


def page(rows: Sequence[Row]) -> str:
    """The rows as tables, with ratios within one quantity."""
    lines = [
        "# Speed",
        "",
        f"`python benchmarks/speed.py`, {os.cpu_count()} cores ({platform.machine()}),",
        f"Python {platform.python_version()}, JAX {jax.__version__}, float64. Other",
        "programs ran beside it: load is the average over a minute, processor time",
        "depends on it less than wall time. Variants of one quantity took turns, so",
        "ratios hold better than levels.",
    ]
    kinds = list(dict.fromkeys(row.what for row in rows))
    for what in kinds:
        mine = [row for row in rows if row.what == what]
        lines += ["", f"## {what[0].upper()}{what[1:]}", ""]
        lines += _rates(mine) if mine[0].unit == "1/s" else _seconds(mine)
    return "\n".join([*lines, *_gradient_cost(rows), ""])


def _rates(rows: Sequence[Row]) -> list[str]:
    best = max(row.value for row in rows)
    lines = [
        "| variant | 1/s | range | of the best | processor time each [µs] | load |",
        "|---|---|---|---|---|---|",
    ]
    return lines + [
        f"| {row.variant} | {row.value:.3g} | {row.low:.3g} to {row.high:.3g} | "
        f"{row.value / best:.0%} | {1e6 * row.cpu_seconds:.3g} | {row.load:.1f} |"
        for row in rows
    ]


def _seconds(rows: Sequence[Row]) -> list[str]:
    lines = ["| | wall [s] | processor [s] | load |", "|---|---|---|---|"]
    for row in rows:
        cpu = "–" if np.isnan(row.cpu_seconds) else f"{row.cpu_seconds:.1f}"
        lines.append(f"| {row.variant} | {row.value:.1f} | {cpu} | {row.load:.1f} |")
    return lines


def _gradient_cost(rows: Sequence[Row]) -> list[str]:
    spent = {r.variant: r.cpu_seconds for r in rows if r.what == "kinds of evaluation"}
    lines = [""]
    for lanes in COMPARED:
        if f"gradient, {lanes} lanes" in spent:
            ratio = spent[f"gradient, {lanes} lanes"] / spent[f"smooth, {lanes} lanes"]
            lines.append(
                f"A gradient of objective and limits takes {ratio:.1f} times the "
                f"processor time of their smooth values at {lanes} lanes."
            )
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="fewer designs and rounds")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results")
    options = parser.parse_args(arguments)
    setting = SMALL if options.small else FULL
    cd.enable_x64()
    jax.config.update("jax_enable_compilation_cache", False)
    study = load_study("joint_chat")
    rows, theta, compiled = compile_times(study)
    rows += costs(study, setting=setting)
    rows += throughputs(study, theta, compiled=compiled, setting=setting)
    rows.append(enumeration(study, values=setting.values))
    rows += searches(SEARCH_STARTS)
    options.out.mkdir(parents=True, exist_ok=True)
    write_csv(rows, options.out / "speed.csv")
    (options.out / "speed.md").write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
