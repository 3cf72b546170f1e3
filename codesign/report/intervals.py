"""How far may a measurement lie from the numbers of this page?

``Result`` -> intervals around the best design from runs that the fit of its stack
had not seen, and parameters beyond the chips that were ever compared.
"""

from codesign.calibrate.intervals import LEVEL, stack_intervals
from codesign.config.checked import CHECKED, beyond_checked
from codesign.optimize.result import Result
from codesign.report.sources import study_stack
from codesign.report.tables import Table, metric_title, metric_unit, metric_value
from codesign.report.texts import common_unit, number, percent, quantity

METRICS = ("energy_per_token", "time_per_output_token", "inter_token_latency", "power")
OF_STEP = {"time_per_output_token": "step_time"}  # a mean step is its mean time


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
