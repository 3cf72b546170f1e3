"""What do the numbers say of a claim? One rule for all of them.

Statements with the share of draws in which each is true -> a verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

SURE = 0.95  # of the draws
MORE_LIKELY = 0.5
HOLDS, HALF, WRONG = "holds", "half true", "wrong"
OPEN = "cannot be decided with public data"


@dataclass(frozen=True)
class Part:
    """A statement that the claim makes, and the share of draws in which it is true."""

    statement: str
    share: float

    @property
    def word(self) -> str:
        """What the draws say of the statement alone."""
        if self.share >= SURE:
            return "true"
        return "not true" if self.share <= 1 - SURE else "undecided"


def part(statement: str, true: ArrayLike) -> Part:
    """A statement with the draws in which it is true.

    The first entry, at the central constants, is no draw.
    """
    found = np.asarray(true, float)
    return Part(statement, float(np.mean(found[1:] if found.size > 1 else found)))


def judge(parts: Sequence[Part]) -> str:
    """The verdict on a claim from the statements that it makes.

    Holds where all are true in 95 % of the draws; wrong where none is in half of them
    and one is in less than 5 %; undecided where the draws straddle all of them, else
    half true.

    Example:
        >>> judge([Part("a", 1.0), Part("b", 0.0)])
        'half true'
    """
    words = {p.word for p in parts}
    if words == {"true"}:
        return HOLDS
    if "not true" in words and all(p.share < MORE_LIKELY for p in parts):
        return WRONG
    return OPEN if words == {"undecided"} else HALF
