"""Does the search beat its rivals on the real model, at equal time?

    python -m benchmarks.optimizer                    # all, 10 seeds; hours
    python -m benchmarks.optimizer --seeds 3 --problems chat,edge --budget 2
    python -m benchmarks.optimizer --page             # only the table again

Five frozen problems (``problems/``) -> one file per problem, method and seed under
``benchmarks/results/optimizer``, and the table of ``docs/optimizer.md``. An
interrupted run continues; ``--again METHOD`` runs a method anew, as after a change
of the search. A budget is a multiple of the processor seconds that our own search
takes, so that load on the machine favours nobody. Rivals: pip install
codesign[benchmarks]; compilation is in nobody's time.
"""

import argparse
import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from benchmarks.optimizer import best, cells
from benchmarks.optimizer.arena import PROBLEMS, Arena, OutOfTimeError
from benchmarks.optimizer.cells import OURS, Cell
from benchmarks.optimizer.fronts import FRONTS, MULTIPLES, Traced
from benchmarks.optimizer.methods import METHODS, missing, smooth
from benchmarks.optimizer.page import write_page
from codesign.app.start import start_jax

log = logging.getLogger("optimizer")
UNBOUND = (OURS, "SLSQP + our stages")  # they stop by themselves
FRONT = "front"
NSGA = "NSGA-II"


def play(arena: Arena, method: str, *, seed: int, budget: float) -> Cell:
    """One run of one method; a method that breaks is told as a failure."""
    if method in UNBOUND[1:]:
        smooth(arena)
    failure = ""
    with arena.run(budget) as ledger:
        try:
            METHODS[method][0](arena, seed=seed)
        except OutOfTimeError:
            pass
        except (ValueError, RuntimeError, FloatingPointError) as error:
            failure = f"{type(error).__name__}: {error}"
        cpu, wall = ledger.spent, time.perf_counter() - ledger.wall
    best.improve(arena, method=method, seed=seed)
    return {
        "problem": arena.name,
        "method": method,
        "seed": seed,
        "landscape": arena.landscape(),
        "budget": None if math.isinf(budget) else budget,
        "cpu": cpu,
        "wall": wall,
        "evaluations": ledger.evaluations,
        "history": ledger.history,
        "values": None if ledger.values is None else ledger.values.tolist(),
        "failure": failure,
    }


def play_front(traced: Traced, base: Cell) -> list[Cell]:
    """Our front and that of NSGA-II at each multiple of our time."""
    seed = base["seed"]
    ours = traced.ours(seed)
    found = [{**base, "method": f"{FRONT} {OURS}", **ours}]
    rivals = traced.theirs(seed, equal=ours["cpu"])
    for factor, theirs in zip(MULTIPLES, rivals, strict=True):
        found.append({**base, "method": f"{FRONT} {NSGA} {factor:g}x", **theirs})
    return found


def run_front(traced: Callable[[str], Traced], base: Cell) -> None:
    """The front of a problem with one seed, unless it is stored for the same model."""
    problem, seed = base["problem"], base["seed"]
    stored = cells.read(problem, f"{FRONT} {OURS}", seed=seed)
    if stored and stored.get("landscape") == base["landscape"]:
        return
    log.info("%s front seed %d", problem, seed)
    for cell in reversed(play_front(traced(problem), base)):
        cells.write(cell)


def run_cell(
    arenas: Callable[[str], Arena], options: Any, *, where: tuple[str, str, int]
) -> None:
    """One cell, unless it is stored and of the model of the day."""
    problem, method, seed = where
    stored = cells.read(problem, method, seed=seed)
    if stored and stored["landscape"] == arenas(problem).landscape():
        return
    budget = math.inf
    if method not in UNBOUND:
        budget = options.budget * cells.own_seconds(cells.every(), problem)
        if math.isnan(budget):
            raise SystemExit(f"{problem}: run {OURS} first; it sets the budget.")
    cell = play(arenas(problem), method, seed=seed, budget=budget)
    cells.write(cell)
    found = cell["history"][-1][3] if cell["history"] else math.inf
    log.info("%s %s %d: %.6g in %.1f s", *where, found, cell["cpu"])


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Flags of the command."""
    names = [path.stem for path in sorted(PROBLEMS.glob("*.yaml"))]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="seeds of each method")
    parser.add_argument(
        "--budget", type=float, default=4.0, help="of rivals, in times of our search"
    )
    parser.add_argument("--problems", default=",".join(names), help="with commas")
    parser.add_argument("--methods", default=",".join(METHODS), help="with commas")
    parser.add_argument("--again", default="", help="methods to run anew")
    parser.add_argument("--fronts", type=int, default=None, help="seeds of fronts")
    parser.add_argument("--page", action="store_true", help="only write the page")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, seed by seed, and write the page."""
    options = options_of(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    start_jax()
    absent = missing()
    problems = options.problems.split(",")
    methods = [name for name in options.methods.split(",") if name not in absent]
    arenas, traced = cache(Arena), cache(Traced)
    if options.page:
        write_page(absent)
        return
    for seed in range(options.seeds):
        for problem in problems:
            for method in methods:
                if method in options.again.split(","):
                    cells.place(problem, method, seed=seed).unlink(missing_ok=True)
                run_cell(arenas, options, where=(problem, method, seed))
            write_page(absent)
    for seed in range(options.seeds if options.fronts is None else options.fronts):
        for problem in [name for name in problems if name in FRONTS]:
            base = {"problem": problem, "seed": seed, "kind": FRONT}
            base["landscape"] = arenas(problem).landscape()
            run_front(traced, base)
            write_page(absent)


if __name__ == "__main__":
    main()
