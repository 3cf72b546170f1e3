"""What may a study minimise or limit? Metrics by name, and limits from texts.

A text such as ``chip.area <= 0.9 * baseline`` -> ``Limit``, or a problem noted.
"""

import math
import re
from dataclasses import dataclass, replace
from functools import cache

from codesign.config.overrides import nearest_paths, unknown_parameter
from codesign.config.units import parse_quantity
from codesign.config.variables import FACTOR_AND_PATH
from codesign.config.yaml import Problems
from codesign.core.errors import UnitError
from codesign.core.paths import nearest, path_units
from codesign.core.quantities import Unit
from codesign.cost.record import Cost
from codesign.outcome.service import Service
from codesign.quality.ensemble import Paired
from codesign.quality.evaluate import Quality
from codesign.serving.design import Design

ABBREVIATIONS = {
    "ttft": "time_to_first_token",
    "tpot": "time_per_output_token",
    "itl": "inter_token_latency",
    "energy": "energy_per_token_server",
    "latency": "request_latency",
    "cost": "usd_per_token",
    "quality": "quality.gap",
    "energy_per_text": "energy_per_byte_server",
    "lifetime": "lifetime_energy",
}

MORE_IS_BETTER = {
    "throughput": "energy_per_token_server or usd_per_token",
    "accuracy": "quality.loss",
    "quality.mmlu": "quality.loss",
    "max_batch": "usd_per_token",
    "memory.max_batch": "usd_per_token",
    "tokens_per_step": "time_per_output_token",
}
"""Metrics that nobody wants less of, and one to minimise in their place."""
LESS_LOSS = ("quality.gap", "quality.gap_nats", "quality.loss")
"""Quality of which less is better; a front may trade it although it can be negative."""

_LIMIT = re.compile(r"(\S+)\s*(<=|>=)\s*(\S.*)")
_QUANTILE = re.compile(r".*\S at \S+")
_LIMIT_FORMS = (
    "Write metric <= value or metric >= value, where value is a number with unit, "
    "baseline, a path of the design, or a number times one of the last two; "
    "a limit on quality may end in at 0.9, the share of draws in which it holds."
)


@dataclass(frozen=True)
class Limit:
    """metric <= or >= value, factor * metric of the baseline, or factor * path.

    With a ``quantile`` the limit holds in that share of the quality draws.
    """

    metric: str
    sense: str
    text: str
    value: float | None = None
    factor: float = 1.0
    baseline: bool = False
    path: str | None = None
    quantile: float | None = None


def is_difference(metric: str) -> bool:
    """Whether limits on a metric are differences, not ratios: those on quality.

    Example:
        >>> is_difference("quality.gap"), is_difference("chip.area")
        (True, False)
    """
    return metric.startswith("quality.")


@cache
def metric_units() -> dict[str, Unit]:
    """Unit of every metric: those of ``Cost`` and ``Service``, and ``quality.``."""
    scores = {f"quality.{path}": unit for path, unit in path_units(Quality).items()}
    scalar = {p: unit for p, unit in scores.items() if not p.endswith("_by_law")}
    return {**path_units(Cost), **path_units(Service), **scalar}


def read_objective(name: str, *, problems: Problems) -> str:
    """The metric to minimise; it must be one, and always positive."""
    if not name:
        return name
    known = _metric_unit(name, place="minimize", problems=problems)
    if name in MORE_IS_BETTER:
        message = f"more of {name} is better; minimise {MORE_IS_BETTER[name]}, or ask "
        problems.add("minimize", message + f"for {name} >= value under subject_to.")
    elif known and _signed(name):
        message = f"{name} can be negative or zero; put it under subject_to."
        problems.add("minimize", message)
    return name


def read_metric(name: str) -> str:
    """The metric of a name, which a search may minimise.

    Raises:
        InputError: there is none of that name, or it may be negative.
    """
    problems = Problems(file="metric")
    found = read_objective(name, problems=problems)
    problems.raise_if_any()
    return found


def read_traded(name: str) -> str:
    """The metric of a name that a front may trade: one to minimise, or quality.

    Raises:
        InputError: there is none of that name, more of it is better, or it may be
            negative and is not quality.
    """
    return name if name in LESS_LOSS else read_metric(name)


def read_limit(text: str, *, place: str, problems: Problems) -> Limit | None:
    """The limit of a text such as ``chip.area <= 0.9 * baseline``."""
    match = _LIMIT.fullmatch(text)
    if match is None:
        problems.add(place, f'cannot read "{text}". {_LIMIT_FORMS}')
        return None
    metric, sense, right = match.groups()
    if _metric_unit(metric, place=place, problems=problems) is None:
        return None
    if metric.startswith("limits."):
        off = metric.removeprefix("limits.")
        message = f"{metric} is always on; to switch it off: off: [{off}]."
        problems.add(place, message)
        return None
    return _right_side(
        Limit(metric, sense, text), right, place=place, problems=problems
    )


def _right_side(
    limit: Limit, right: str, *, place: str, problems: Problems
) -> Limit | None:
    """The limit with what stands on the right of its sign."""
    if _QUANTILE.fullmatch(right) is not None:
        return _at_quantile(limit, right, place=place, problems=problems)
    reference = FACTOR_AND_PATH.fullmatch(right)
    if reference is None:
        return _fixed(limit, right, place=place, problems=problems)
    limit = replace(limit, factor=float(reference[1] or 1.0))
    if limit.factor <= 0:
        problems.add(place, f"the factor {limit.factor:g} is not positive.")
    if reference[2] == "baseline":
        return replace(limit, baseline=True)
    return _relative(limit, reference[2], place=place, problems=problems)


def _at_quantile(
    limit: Limit, right: str, *, place: str, problems: Problems
) -> Limit | None:
    """A limit on quality that holds in a share of the draws of its constants."""
    value, _, level = right.rpartition(" at ")
    drawn = [f"quality.{name}" for name in Paired.__dataclass_fields__]
    if limit.metric not in drawn:
        allowed = ", ".join(drawn)
        message = f"{limit.metric} has no draws; only {allowed} may be held at a share."
        problems.add(place, message)
        return None
    try:
        share = parse_quantity(level, Unit("1"), name=place)
    except UnitError:
        share = math.nan
    if not 0.0 < share < 1.0:
        message = f'"at {level}": expected a share of draws between 0 and 1.'
        problems.add(place, message)
        return None
    sure = replace(limit, quantile=share)
    return _fixed(sure, value.strip(), place=place, problems=problems)


def _metric_unit(name: str, *, place: str, problems: Problems) -> Unit | None:
    known = metric_units()
    if name not in known:
        close = nearest_paths(name, list(known))
        if name.casefold() in ABBREVIATIONS:
            close = [ABBREVIATIONS[name.casefold()]]
        hint = ", ".join(close or known)
        problems.add(place, f'no metric is called "{name}". Close: {hint}.')
    return known.get(name)


def _fixed(limit: Limit, right: str, *, place: str, problems: Problems) -> Limit | None:
    unit = metric_units()[limit.metric]
    try:
        value = _metric_value(right, unit, name=limit.metric)
    except UnitError as error:
        forms = "" if right[0].isdigit() else f" {_LIMIT_FORMS}"
        problems.add(place, f"{error}{forms}")
        return None
    if value <= 0 and not is_difference(limit.metric):
        problems.add(place, f"{right} is not positive; {limit.metric} is.")
    return replace(limit, value=value)


def _relative(
    limit: Limit, path: str, *, place: str, problems: Problems
) -> Limit | None:
    unit, wanted = path_units(Design).get(path), metric_units()[limit.metric]
    if unit is None:
        found = unknown_parameter(path)
        if nearest(path, ["baseline"]):
            found = "unknown. Did you mean baseline?"
        problems.add(place, f"{path}: {found} {_LIMIT_FORMS}")
        return None
    if unit.dimensions != wanted.dimensions:
        message = f"{limit.metric} is in {wanted.text}, {path} in {unit.text}."
        problems.add(place, message)
        return None
    return replace(limit, path=path)


def _metric_value(text: str, unit: Unit, *, name: str) -> float:
    """SI value of a limit; a time per token may be written as a time."""
    try:
        return parse_quantity(text, unit, name=name)
    except UnitError as error:
        if unit.text != "s/token":
            raise
        try:
            return parse_quantity(text, Unit("s"), name=name)
        except UnitError:
            raise error from None


def _signed(metric: str) -> bool:
    """Whether a metric may be zero or negative, so that it has no logarithm."""
    if is_difference(metric):
        return metric != "quality.loss"
    return metric.startswith("limits.") or metric == "queue_time"
