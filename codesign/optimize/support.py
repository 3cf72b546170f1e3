"""How much of a gain rests on constants that nobody measured?

ln objective of two designs with each constant at the ends of its range, and what is
known of the constants -> what of the gain would be lost.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codesign.config.records import UNSURE, ValueInfo

Ends = tuple[float, float]


@dataclass(frozen=True)
class Support:
    """Change of ln gain with one constant at the low and the high end of its range."""

    path: str
    status: str
    low: float
    high: float

    @property
    def lost(self) -> float:
        """What of ln gain the worse end takes away."""
        return max(0.0, -self.low, -self.high)


@dataclass(frozen=True)
class GainSupport:
    """``gain`` is ln(before / after) of an objective, ``supports`` hold it.

    ``unranged`` are constants of the same statuses for which no range is stated, so
    that nobody can say what rests on them.
    """

    gain: float
    supports: tuple[Support, ...]
    unranged: tuple[str, ...]

    def lost(self, statuses: Sequence[str] = UNSURE) -> float:
        """Part of ln gain that would be lost at the worse ends of all ranges.

        l = sqrt(sum l_i^2)

        Assumes: constants are independent.
        """
        found = (s.lost for s in self.supports if s.status in statuses)
        return math.sqrt(sum(lost**2 for lost in found))

    def share(self, statuses: Sequence[str] = UNSURE) -> float:
        """That part over ln gain, at most all of it; NaN where there is no gain.

        Example:
            >>> half = GainSupport(0.2, (Support("a", "assumed", -0.1, 0.05),), ())
            >>> half.share(), half.share(("measured",))
            (0.5, 0.0)
        """
        if self.gain <= 0:
            return math.nan
        return min(1.0, self.lost(statuses) / self.gain)


def gain_support(
    before: Mapping[str, Ends],
    after: Mapping[str, Ends],
    *,
    levels: Ends,
    known: Mapping[str, ValueInfo],
) -> GainSupport:
    """What of a gain rests on each constant.

    d_i = (ln f_b(c_i) - ln f_a(c_i)) - (ln f_b - ln f_a)

    at both ends of the range of c_i, with f the objective before and after:
    ``before`` and ``after`` hold ln f at the two ends by path, ``levels`` ln f_b and
    ln f_a at the values taken. A constant that moves both designs alike supports
    nothing; one that is absent in a mapping does not move that design.

    Assumes: designs stay as they are, constants move one by one.
    """
    gain = levels[0] - levels[1]
    flat = [(levels[i], levels[i]) for i in (0, 1)]
    supports = []
    for path in dict.fromkeys([*before, *after]):
        old, new = before.get(path, flat[0]), after.get(path, flat[1])
        low, high = (o - n - gain for o, n in zip(old, new, strict=True))
        supports.append(Support(path, known[path].status, low=low, high=high))
    ranked = sorted(supports, key=lambda support: -support.lost)
    missing = [
        path
        for path, info in known.items()
        if info.status in UNSURE and (info.low is None or info.high is None)
    ]
    return GainSupport(gain, supports=tuple(ranked), unranged=tuple(missing))
