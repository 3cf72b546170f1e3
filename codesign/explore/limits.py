"""Which limits does a design keep, and by how much?

Texts such as ``time_per_output_token <= 30 ms`` -> limits; a frame and the pinned
baseline -> ln(use / limit) of each, and of those that are always on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from codesign.config.limits import Limit, is_difference, read_limit
from codesign.config.yaml import Problems
from codesign.core.paths import get_path, path_units
from codesign.cost.limits import Limits
from codesign.explore.frame import Frame
from codesign.optimize.problem import log_constraint
from codesign.quality.validity import Validity
from codesign.report.limits import limit_title

QUALITY = "quality.validity."
KEPT = 1e-6  # largest ln(use / limit) that counts as kept
MOST_LIMITS = 40


@dataclass(frozen=True)
class Use:
    """How far a design uses a limit: ln(use / limit), <= 0 when kept.

    ``metric`` is what its gradient is that of, ``sense`` 1 where more of it breaks
    the limit. ``asked`` marks limits of the user, ``difference`` those that are
    differences instead of logarithms.
    """

    title: str
    metric: str
    excess: float
    sense: float
    asked: bool
    difference: bool
    path: str | None = None

    @property
    def broken(self) -> bool:
        """Whether the limit is not kept."""
        return not self.excess <= KEPT


def read_limits(texts: Sequence[object]) -> tuple[Limit, ...]:
    """The limits of texts.

    Raises:
        InputError: with every text that cannot be read.
    """
    problems = Problems(file="limits")
    if len(texts) > MOST_LIMITS:
        problems.add("", f"{len(texts)} limits; at most {MOST_LIMITS}.")
    found = [
        read_limit(" ".join(str(text).split()), place=f"{index}", problems=problems)
        for index, text in enumerate(texts[:MOST_LIMITS])
    ]
    problems.raise_if_any()
    return tuple(limit for limit in found if limit is not None)


def fixed_limit(limit: Limit, pinned: Frame) -> Limit:
    """The limit with a number where it refers to the baseline."""
    if not limit.baseline:
        return limit
    value = limit.factor * pinned.metric(limit.metric)
    return replace(limit, baseline=False, factor=1.0, value=value)


def limit_uses(
    frame: Frame, limits: Sequence[Limit], *, pinned: Frame, off: Sequence[str] = ()
) -> list[Use]:
    """Use of the limits asked for, then of those that are always on."""
    asked = [_asked(frame, fixed_limit(limit, pinned)) for limit in limits]
    names = [f"limits.{name}" for name in path_units(Limits) if name not in off]
    if frame.judged:
        names += [f"{QUALITY}{n}" for n in path_units(Validity) if n not in off]
    always = [
        Use(
            title=limit_title(name),
            metric=name,
            excess=_finite(frame.metric(name)),
            sense=1.0,
            asked=False,
            difference=True,
        )
        for name in names
    ]
    return [*asked, *always]


def _asked(frame: Frame, limit: Limit) -> Use:
    scored = is_difference(limit.metric)
    if scored and not frame.judged:
        excess = np.inf
    elif limit.quantile is not None:
        excess = _at_quantile(frame, limit)
    else:
        bound = 1.0 if limit.value is None else limit.value
        found = log_constraint(limit, frame.outcome, design=frame.design, bound=bound)
        excess = float(found)
    return Use(
        title=limit.text,
        metric=limit.metric,
        excess=_finite(excess),
        sense=1.0 if limit.sense == "<=" else -1.0,
        asked=True,
        difference=scored,
        path=limit.path,
    )


def _at_quantile(frame: Frame, limit: Limit) -> float:
    """Excess that the limit's share of the draws of the constants keeps."""
    sign = 1.0 if limit.sense == "<=" else -1.0
    drawn = np.asarray(get_path(frame.drawn, limit.metric.removeprefix("quality.")))
    excess = sign * (drawn - (limit.value or 0.0))
    return float(np.quantile(excess, limit.quantile or 0.0, method="inverted_cdf"))


def _finite(value: float) -> float:
    return value if np.isfinite(value) else float(np.inf)
