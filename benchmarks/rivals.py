"""Does the search beat gradient-free rivals on the joint problem, at equal time?

The joint chat study -> benchmarks/results/rivals.csv and rivals.md.

    python benchmarks/rivals.py --seeds 3

Rivals get what our search has: the vectorised hard model on all cores, rounding
to legal values, the tuned baseline as a start, an exact penalty. Times count
after compilation. A method without a feasible design has infinite regret.
"""

import argparse
import csv
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path

import numpy as np
from scipy.optimize import differential_evolution

import codesign as cd
from codesign.app.start import start_jax
from codesign.optimize.discrete import FEASIBLE, Pool
from codesign.optimize.ladder import EVERYTHING, Climber
from codesign.optimize.space import Floats

RESULTS = Path(__file__).resolve().parent / "results"
PENALTY = 10.0  # on the sum of ln(use / limit); shadow prices are near 1
LONG = 4.0  # rivals run on to this multiple of our time
BATCH = 1024  # random designs a call
NEAR = 0.01  # regret that counts as found


class OutOfTimeError(Exception):
    """The budget of a rival is used up."""


@dataclass
class Evaluator:
    """The hard model for rivals, with the best feasible design over time."""

    climber: Climber
    budget: float
    mask: np.ndarray
    began: float = field(default_factory=time.perf_counter)
    evaluations: int = 0
    best: list[tuple[float, float]] = field(default_factory=list)

    def pool(self, points: Floats) -> Pool:
        """Legal designs nearest to points of the unit box, evaluated."""
        if time.perf_counter() - self.began > self.budget:
            raise OutOfTimeError
        space = self.climber.space
        values = space.round(space.decode(points), mask=self.mask)
        pool = self.climber.engine.evaluate(values, self.climber.theta)
        self.evaluations += len(points)
        first = pool.best(1)
        if first.violation[0] <= FEASIBLE:
            self._note(float(np.exp(first.objective[0])))
        return pool

    def _note(self, objective: float) -> None:
        if not self.best or objective < self.best[-1][1]:
            self.best.append((time.perf_counter() - self.began, objective))

    def reached(self, seconds: float) -> float:
        """Best feasible objective within a time; infinite if there was none."""
        found = [value for moment, value in self.best if moment <= seconds]
        return found[-1] if found else math.inf


@dataclass(frozen=True)
class Run:
    """Outcome of one method with one seed within a time."""

    method: str
    seed: int
    seconds: float
    evaluations: int
    objective: float
    load: float


def random_search(evaluator: Evaluator, start: Floats, *, seed: int) -> None:
    """Uniform points of the unit box."""
    rng = np.random.default_rng(seed)
    evaluator.pool(start[None])
    while True:
        evaluator.pool(rng.uniform(size=(BATCH, len(start))))


def evolution(evaluator: Evaluator, start: Floats, *, seed: int) -> None:
    """SciPy's differential evolution, whole generations at once, restarted."""

    def fitness(points: Floats) -> Floats:
        pool = evaluator.pool(np.clip(points.T, 0.0, 1.0))
        value = pool.objective + PENALTY * pool.excess
        return np.where(np.isfinite(value), value, 1e6)

    for restart in range(1000):
        differential_evolution(
            fitness,
            [(0.0, 1.0)] * len(start),
            x0=start,
            rng=np.random.default_rng([seed, restart]),
            maxiter=100_000,
            tol=1e-8,
            polish=False,
            vectorized=True,
            updating="deferred",
        )


RIVALS: dict[str, Callable[..., None]] = {
    "differential evolution": evolution,
    "random": random_search,
}


def ours(climber: Climber, start: Floats, *, seed: int) -> Run:
    """One search from the tuned baseline."""
    load, began = os.getloadavg()[0], time.perf_counter()
    climber.rng = np.random.default_rng(seed)
    mask = climber.space.select(EVERYTHING)
    rung = climber.climb("joint", mask=mask, known=start[None])
    seconds = time.perf_counter() - began
    objective = rung.objective if rung.feasible else math.inf
    return Run("codesign", seed, seconds, 0, objective, load)


def rival(name: str, climber: Climber, *, start: Floats, mine: Run) -> list[Run]:
    """A rival within our time, and within a multiple of it."""
    load = os.getloadavg()[0]
    mask = climber.space.select(EVERYTHING)
    evaluator = Evaluator(climber, LONG * mine.seconds, mask)
    with suppress(OutOfTimeError):
        RIVALS[name](evaluator, climber.space.encode(start), seed=mine.seed)
    return [
        Run(
            name,
            mine.seed,
            seconds=factor * mine.seconds,
            evaluations=int(evaluator.evaluations * factor / LONG),
            objective=evaluator.reached(factor * mine.seconds),
            load=load,
        )
        for factor in (1.0, LONG)
    ]


def compare(climber: Climber, start: Floats, *, seeds: int) -> list[Run]:
    """Every method with every seed, seed by seed."""
    runs = []
    for seed in range(seeds):
        mine = ours(climber, start, seed=seed)
        runs.append(mine)
        for name in RIVALS:
            runs += rival(name, climber, start=start, mine=mine)
    return runs


def page(runs: Sequence[Run], *, tuned: float, starts: int) -> str:
    """Regret by method and time."""
    best = min(run.objective for run in runs)
    loads = [run.load for run in runs]
    lines = [
        "# Rivals",
        "",
        f"`python benchmarks/rivals.py`: the joint chat study, {starts} starts of our",
        "search against SciPy's differential evolution and random search, all on the",
        "same vectorised hard model, rounded to legal values, started from the tuned",
        f"baseline ({tuned:.3g} J/token). {os.cpu_count()} shared cores, load",
        f"{min(loads):.1f} to {max(loads):.1f}. Regret is the objective over the best",
        f"of all runs here ({best:.4g} J/token), minus one; it is no bound.",
        "",
        "| method | time | seeds | regret median | best | worst | within 1 % | "
        "seconds | evaluations |",
        "|---" * 9 + "|",
    ]
    for name in ("codesign", *RIVALS):
        for factor in (1.0, LONG) if name != "codesign" else (1.0,):
            mine = [r for r in runs if r.method == name]
            if name != "codesign":
                mine = mine[::2] if factor == 1.0 else mine[1::2]
            regrets = [r.objective / best - 1 for r in mine]
            near = sum(regret <= NEAR for regret in regrets)
            count = statistics.median(r.evaluations for r in mine)
            lines.append(
                f"| {name} | {factor:g} x | {len(mine)} | "
                f"{_percent(statistics.median(regrets))} | {_percent(min(regrets))} | "
                f"{_percent(max(regrets))} | {near} | "
                f"{statistics.median(r.seconds for r in mine):.0f} | "
                f"{f'{count:.2g}' if count else '–'} |"
            )
    return "\n".join([*lines, ""])


def _percent(share: float) -> str:
    return "none feasible" if math.isinf(share) else f"{100 * share:.2g} %"


def main(arguments: Sequence[str] | None = None) -> None:
    """Tune the baseline, run every method, write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each method")
    parser.add_argument("--starts", type=int, default=128, help="starts of our search")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results")
    options = parser.parse_args(arguments)
    start_jax()
    study = cd.load_study("joint_chat", overrides=[f"search.starts={options.starts}"])
    climber = Climber(study, lambda _: None)
    tuned = climber.tune(climber.as_given())
    runs = compare(climber, tuned.values, seeds=options.seeds)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "rivals.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([entry.name for entry in fields(Run)])
        writer.writerows(astuple(run) for run in runs)
    text = page(runs, tuned=tuned.objective, starts=options.starts)
    (options.out / "rivals.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
