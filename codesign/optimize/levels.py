"""Which of many designs serve which level of a front?

Legal designs with their metrics, levels of the traded ones -> the best of every level.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.optimize.space import Floats

STRICT = 1e9  # penalty under which nothing may be broken


@dataclass(frozen=True)
class Archive:
    """Legal designs, their metrics and what limits they break.

    Metrics are logarithms, quality is as it is.
    """

    values: Floats
    metrics: Floats
    excess: Floats

    def join(self, other: "Archive") -> "Archive":
        """Both archives, each design once."""
        both = [
            np.concatenate([getattr(self, n), getattr(other, n)])
            for n in ("values", "metrics", "excess")
        ]
        _, first = np.unique(np.log(both[0]).round(12), axis=0, return_index=True)
        return Archive(*(part[first] for part in both))

    def take(self, index: NDArray[np.intp]) -> "Archive":
        """The designs at the given indices."""
        return Archive(self.values[index], self.metrics[index], self.excess[index])

    def best(self, levels: Floats, *, count: int, penalty: float) -> NDArray[np.intp]:
        """The best designs of every level under a penalty, each once."""
        score = self._score(levels, penalty=penalty)
        return np.unique(np.argsort(score, axis=0, kind="stable")[:count])

    def best_of_each(self, levels: Floats) -> NDArray[np.intp]:
        """The best design of every level."""
        return np.argmin(self._score(levels, penalty=STRICT), axis=0)

    def _score(self, levels: Floats, *, penalty: float) -> Floats:
        over = np.maximum(self.metrics[:, None, 1:] - levels[None], 0.0).sum(axis=2)
        score = self.metrics[:, :1] + penalty * (self.excess[:, None] + over)
        return np.where(np.isfinite(score), score, np.inf)
