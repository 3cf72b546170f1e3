"""How far may a measurement lie from the numbers of this page?

``Result`` -> intervals around the best design from runs that the fit of its stack
had not seen, and parameters beyond the chips that were ever compared.
"""

from codesign.calibrate.intervals import LEVEL, fitted_metrics, stack_intervals
from codesign.config.checked import CHECKED, beyond_checked
from codesign.cost.record import Cost
from codesign.optimize.result import Result
from codesign.report.sources import study_stack
from codesign.report.tables import Table, metric_title, metric_unit, metric_value
from codesign.report.texts import common_unit, number, percent, quantity

METRICS = ("energy_per_token", "time_per_output_token", "inter_token_latency", "power")
COST_METRICS = {
    "time_to_first_token": "time_to_first_token",
    "time_per_output_token": "step_time",
    "inter_token_latency": "inter_token_latency",
    "request_latency": "step_time",
    "throughput": "step_time",
    "power": "power",
    "power_server": "power",
    "energy_per_token": "energy_per_token",
    "energy_per_token_server": "energy_per_token",
    "energy_per_token_facility": "energy_per_token",
}
"""Metrics of a design and the measured metric whose interval each has."""
FALLING = ("throughput",)  # falls where a time rises
BEYOND_CHIP = ("_server", "_facility")  # no run measured these boundaries
OF_STEP = {"time_per_output_token": "step_time"}  # a mean step is its mean time


def cost_intervals(cost: Cost, stack: str) -> dict[str, dict[str, float | bool]]:
    """80 % intervals of a measurement around every time, power and energy, in SI.

    ``assumed`` where runs of the stack did not give them: a stack without served runs
    of its own has wide ones.
    """
    known, fitted = stack_intervals(stack), fitted_metrics(stack)
    found: dict[str, dict[str, float | bool]] = {}
    for metric, kind in COST_METRICS.items():
        value = float(getattr(cost, metric))
        low, high = known[kind].around(value)
        if metric in FALLING:
            low, high = value**2 / high, value**2 / low
        assumed = kind not in fitted or metric.endswith(BEYOND_CHIP)
        found[metric] = {"low": low, "high": high, "assumed": assumed}
    return found


def cost_intervals_table(cost: Cost, stack: str) -> Table:
    """The same as a table."""
    rows: list[tuple[str, ...]] = []
    for metric, ends in cost_intervals(cost, stack).items():
        value = float(getattr(cost, metric))
        name, scale = common_unit([value], metric_unit(metric))
        low, high = float(ends["low"]), float(ends["high"])
        rows.append(
            (
                metric_title(metric),
                f"{number(value / scale)} {name}",
                f"{number(low / scale)} to {number(high / scale)} {name}",
                f"{percent(low / value - 1)} to {percent(high / value - 1)}",
                "assumed" if ends["assumed"] else "unseen models",
            )
        )
    return Table(
        title="Prediction and measurement",
        columns=("metric", "predicted", "interval", "relative", "from"),
        rows=tuple(rows),
        note=f"Intervals hold {percent(LEVEL)} of measurements where served runs of "
        f"models that the fit of {stack} had not seen gave them; others are assumed.",
    )


def intervals_table(result: Result) -> Table:
    """Intervals that a measurement of the best design should fall into."""
    stack = study_stack(result.study)
    if stack is None:
        return Table("Prediction and measurement", ("metric",), (), note=_UNKNOWN)
    known = stack_intervals(stack.name)
    rows: list[tuple[str, ...]] = []
    for metric in METRICS:
        value, unit = metric_value(result.best, metric), metric_unit(metric)
        low, high = known[OF_STEP.get(metric, metric)].around(value)
        name, scale = common_unit([value], unit)
        rows.append(
            (
                metric_title(metric),
                f"{number(value / scale)} {name}",
                f"{number(low / scale)} to {number(high / scale)} {name}",
                f"{percent(low / value - 1)} to {percent(high / value - 1)}",
            )
        )
    fitted = (
        f"from models that the fit of {stack.title} had not seen"
        if stack.fit.get("errors")
        else f"{stack.title} was not fitted, so they are wide"
    )
    return Table(
        title="Prediction and measurement",
        columns=("metric", f"{result.best.name}, predicted", "interval", "relative"),
        rows=tuple(rows),
        note=f"Intervals hold {percent(LEVEL)} of measurements, {fitted}. They are of "
        "chips that exist; a new chip adds the ranges of its constants, below.",
    )


_UNKNOWN = "The serving stack of this study is no longer to be found."


def beyond_table(result: Result) -> Table:
    """Parameters of the best chip beyond those that runs were compared with."""
    found = beyond_checked(result.design)
    rows = [
        (
            each.path,
            quantity(each.value, each.unit),
            quantity(each.end, each.unit),
            f"×{number(each.factor, digits=2)}",
        )
        for each in found
    ]
    names = ", ".join(CHECKED.values())
    return Table(
        title="Beyond the chips that were compared",
        columns=("parameter", result.best.name, "nearest compared", "distance"),
        rows=tuple(rows),
        note=f"More than a factor of two from {names}, whose runs the scorecard shows."
        if rows
        else f"Every parameter lies within a factor of two of {names}.",
    )
