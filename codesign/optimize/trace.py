"""What happened in a search, stage by stage?

Objectives after a stage, and lanes that were lost -> entries of a trace, and progress.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from codesign.optimize.space import Floats

FIRST_STARTS, OTHER_STARTS = "relaxed", "others"
DESCENTS = (FIRST_STARTS, OTHER_STARTS)  # stages of starts, the others of legal designs
MOST_LOST = 16  # lanes kept of those that cannot be evaluated

Progress = Callable[[str], None]


def silent(_: str) -> None:
    """Progress that is not shown."""


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
        seconds = time.perf_counter() - self.began
        entry = {"stage": stage, "seconds": seconds, "best": best, "feasible": feasible}
        self.trace.append({**entry, "lost": self.missing})
        note = f"  {self.missing} lanes without a number" if self.missing else ""
        self.progress(f"{stage:<10} best {best:.5g}  feasible {feasible:.0%}{note}")
        self.missing = 0

    def absorb(self, other: "Log") -> None:
        """Count what another log of the same stage has lost."""
        self.missing += other.missing
        self.lost = np.concatenate([self.lost, other.lost])[:MOST_LOST]

    def drop(self, values: Floats) -> None:
        """Count lanes that have no number, and keep some of them."""
        self.missing += len(values)
        self.lost = np.concatenate([self.lost, values])[:MOST_LOST]
