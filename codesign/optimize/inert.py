"""Which variables change nothing at a design?

Designs, hard values -> variables that tell designs of one combination apart.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from codesign.optimize.discrete import Mask
from codesign.optimize.space import Floats, Space

DIGITS = 12  # of logarithms that count as equal


class Live:
    """Variables by design that change its objective or any of its constraints.

    The size of an expert changes nothing in a dense model. A variable is live where
    one of the ends of its range has other values than the design.

    Assumes: what is inert in one design is so in all of the same choices; one mask.
    """

    def __init__(self, space: Space, outcomes: Callable[[Floats], Floats]) -> None:
        self.space = space
        self.outcomes = outcomes
        self.known: dict[bytes, NDArray[np.bool_]] = {}

    def columns(self, values: Floats, *, mask: Mask) -> NDArray[np.bool_]:
        """The masked variables that are live, design by design."""
        choices = values[:, self.space.coarse]
        keys = [row.round(9).tobytes() for row in choices]
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        new = [key for key in first if key not in self.known]
        if new:
            rows = values[[first[key] for key in new]]
            self.known |= dict(zip(new, self._probed(rows, mask), strict=True))
        return np.stack([self.known[key] for key in keys]) & mask

    def _probed(self, rows: Floats, mask: Mask) -> NDArray[np.bool_]:
        """Whether either end of a masked variable's range has other values, by row."""
        ends, columns = (
            self.space.decode(np.array([[0.0], [1.0]])),
            np.flatnonzero(mask),
        )
        count, width = rows.shape
        moved = np.tile(rows, (2, len(columns), 1, 1))
        for place, column in enumerate(columns):
            moved[:, place, :, column] = ends[:, column, None]
        every = np.concatenate([rows, moved.reshape(-1, width)])
        found = self.outcomes(every).round(DIGITS)
        here, there = found[:count], found[count:]
        there = there.reshape(2, len(columns), count, found.shape[1])
        same = (there == here) | (np.isnan(there) & np.isnan(here))
        live = np.zeros(rows.shape, bool)
        live[:, columns] = ~same.all(axis=(0, 3)).T
        return live
