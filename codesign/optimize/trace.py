"""What happened in a search, stage by stage?

Objectives after a stage, and lanes that were lost -> entries of a trace, and progress.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from codesign.optimize.space import Floats

FIRST_STARTS, OTHER_STARTS = "relaxed", "others"
DESCENTS = (FIRST_STARTS, OTHER_STARTS)  # stages of starts, the others of legal designs
MOST_LOST = 16  # lanes kept of those that cannot be evaluated

Progress = Callable[[str], None]


def silent(_: str) -> None:
    """Progress that is not shown."""


@dataclass(frozen=True)
class Lost:
    """Lanes and trials that had no number and were left out of some searches.

    ``designs`` are the variables of the first ones of each search, by path.
    """

    count: int = 0
    designs: tuple[dict[str, float], ...] = ()

    def __add__(self, other: "Lost") -> "Lost":
        return Lost(self.count + other.count, self.designs + other.designs)

    @property
    def text(self) -> str:
        """How many, as a sentence; empty without any."""
        if not self.count:
            return ""
        return f"{self.count} lanes had no number and were left out."


class Searched(Protocol):
    """Anything with the trace of a search and values that it lost."""

    @property
    def trace(self) -> Sequence[dict[str, Any]]:
        """Entries of the stages."""
        ...

    @property
    def lost(self) -> Floats:
        """Values of the first lanes without a number."""
        ...


def num_lost(trace: Iterable[dict[str, Any]]) -> int:
    """Lanes and trials without a number in all stages of a trace."""
    return sum(int(entry.get("lost", 0)) for entry in trace)


def all_lost(searches: Iterable[Searched], *, paths: Sequence[str]) -> Lost:
    """What searches over the same variables have lost together."""
    searches = list(searches)
    rows = [row for search in searches for row in search.lost]
    named = (dict(zip(paths, map(float, row), strict=True)) for row in rows)
    return Lost(sum(num_lost(search.trace) for search in searches), tuple(named))


@dataclass
class Log:
    """Stages of one search with their time, for progress and convergence plots.

    Lanes that end without a number are counted with the stage, and the values of
    the first ones kept.
    """

    progress: Progress
    lost: Floats
    missing: int = 0
    trace: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def note(self, stage: str, objective: Floats) -> None:
        """Record the best objective of a stage; infinite ones break a limit."""
        best = float(np.exp(np.min(objective)))
        feasible = float(np.mean(np.isfinite(objective)))
        text = f"best {best:.5g}  feasible {feasible:.0%}"
        self.close(stage, text, best=best, feasible=feasible)

    def close(self, stage: str, text: str, **facts: float) -> None:
        """Record the end of a stage, what is known then, and what it has lost."""
        seconds = time.perf_counter() - self.began
        entry = {"stage": stage, "seconds": seconds, **facts, "lost": self.missing}
        self.trace.append(entry)
        note = f"  {self.missing} lanes without a number" if self.missing else ""
        self.progress(f"{stage:<10} {text}{note}")
        self.missing = 0

    def resume(self, trace: Iterable[dict[str, Any]], *, lost: Floats) -> None:
        """Go on after the stages of an earlier log, its time counted too."""
        self.trace.extend(trace)
        self.lost = lost
        self.began -= max((entry["seconds"] for entry in self.trace), default=0.0)

    def absorb(self, other: "Log") -> None:
        """Count what another log of the same stage has lost."""
        self.missing += other.missing
        self.lost = np.concatenate([self.lost, other.lost])[:MOST_LOST]

    def drop(self, values: Floats) -> None:
        """Count lanes that have no number, and keep some of them."""
        self.missing += len(values)
        self.lost = np.concatenate([self.lost, values])[:MOST_LOST]
