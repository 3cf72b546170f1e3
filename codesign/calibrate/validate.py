"""How wrong is the cost model, measured against real serving runs?

Files of measured rows and of models -> a ``Report``: a prediction of every
row, scores by group, and each row that could not be predicted.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from codesign.calibrate.groups import (
    ALL,
    METRICS,
    Group,
    group_scores,
    metric_error,
)
from codesign.calibrate.intervals import stack_intervals
from codesign.calibrate.predict import Prediction, predict_rows
from codesign.config.rows import (
    MeasuredRow,
    RowFault,
    read_model_rows,
    read_rows,
    write_rows,
)
from codesign.config.servers import stack_of
from codesign.core.errors import InputError

UNSCORED = "-"
HEADINGS = {
    "inter_token_latency": "ITL",
    "step_time": "step",
    "power": "power",
    "power_at_step": "power at measured step",
    "energy_per_token": "J/token",
    "time_to_first_token": "TTFT",
}
MILLISECONDS = 1e3
COLUMNS = {
    "pred_itl_ms": ("inter_token_latency", MILLISECONDS),
    "pred_step_ms": ("step_time", MILLISECONDS),
    "pred_power_w": ("power", 1.0),
    "pred_j_per_token": ("energy_per_token", 1.0),
    "pred_ttft_ms": ("time_to_first_token", MILLISECONDS),
}
"""Column in the units of the measured rows, its metric and scale."""
SHOWN_FAULTS = 5


@dataclass(frozen=True)
class Report:
    """Predictions in the order of the rows, scores by group, and faults by line."""

    predictions: tuple[Prediction, ...]
    groups: tuple[Group, ...]
    faults: tuple[RowFault, ...]


def validate(rows_path: str | Path, models_path: str | Path | None = None) -> Report:
    """Score the model on measured serving runs.

    ``models_path`` is a table of the models that the rows name; models that it
    does not hold are looked up among the presets.

    Raises:
        InputError: a file cannot be read, or no row of it can be predicted.
        Float64DisabledError: 64-bit floats are off.
    """
    models = {} if models_path is None else read_model_rows(models_path)
    given = read_rows(rows_path)
    predicted = predict_rows(given.rows, models)
    faults = sorted((*given.faults, *predicted.faults), key=lambda fault: fault.line)
    if not predicted.done:
        shown = "".join(f"\n  {fault_text(f)}" for f in faults[:SHOWN_FAULTS])
        raise InputError(f"{rows_path}: no row can be predicted.{shown}")
    return Report(
        predictions=predicted.done,
        groups=group_scores(predicted.done),
        faults=tuple(faults),
    )


def fault_text(fault: RowFault) -> str:
    """A fault as one line of text."""
    return f"line {fault.line}: {fault.message}"


def report_dict(report: Report) -> dict[str, Any]:
    """Scores and faults for JSON: errors as ratios, NaN as None."""
    return {
        "rows": len(report.predictions),
        "groups": [_without_nan(asdict(group)) for group in report.groups],
        "notes": _notes(report),
        "faults": [asdict(fault) for fault in report.faults],
    }


def write_predictions(report: Report, path: str | Path) -> None:
    """Write measured values, predictions and errors of every row to a CSV file.

    One line per input row in the same order; a row that was not predicted has its
    message in the column ``fault``. ``pred_itl_ms``, ``pred_step_ms``,
    ``pred_power_w`` (all chips), ``pred_j_per_token`` and ``pred_ttft_ms`` are in the
    units of the input, ``_lo`` and ``_hi`` the ends of the 80 % interval of a
    measurement; other columns are in SI units.
    """
    lines = [_prediction_cells(p) for p in report.predictions]
    empty = dict.fromkeys(lines[0], "")
    lines += [{**empty, "line": f.line, "fault": f.message} for f in report.faults]
    write_rows(path, sorted(lines, key=lambda cells: int(str(cells["line"]))))


def score_rows(report: Report) -> list[list[str]]:
    """The scorecard as cells, header first: MAPE / median / bias in percent.

    Metrics that no run has are left out.
    """
    header = ["chip", "models", "rows", *(HEADINGS[name] for name in METRICS)]
    cells = score_cells(report.groups)
    chips = [_chip_cell(group) for group in report.groups]
    table = [header, *([chip, *row] for chip, row in zip(chips, cells, strict=True))]
    columns = [c for c in zip(*table, strict=True) if set(c[1:]) != {UNSCORED}]
    return [list(row) for row in zip(*columns, strict=True)]


def score_cells(groups: Sequence[Group]) -> list[list[str]]:
    """Kind of model, number of rows and score of every metric, group by group."""
    return [
        [
            group.kind,
            str(group.rows),
            *(_score_cell(group, name) for name in METRICS),
        ]
        for group in groups
    ]


def report_text(report: Report) -> str:
    """Scorecard as aligned text, and every fault by line."""
    cells = score_rows(report)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        for row in cells
    ]
    title = "MAPE / median / bias [%] of predicted against measured"
    faults = [f"not predicted, {fault_text(fault)}" for fault in report.faults]
    notes = _notes(report)
    return "\n".join([title, *(line.rstrip() for line in lines), *notes, *faults])


def _notes(report: Report) -> list[str]:
    """What was taken for the runs in place of what their table says."""
    rows = [p.row for p in report.predictions if p.row.published_prompts]
    lengths = {row.task: row.prompt_length for row in rows}
    listed = ", ".join(f"{task} {length:g}" for task, length in sorted(lengths.items()))
    return [
        f"{len(rows)} runs have inferred prompt lengths; the published ones of their "
        f"tasks were taken, in tokens: {listed}"
    ] * bool(rows)


def reality_check_markdown(report: Report, *, source: str = "") -> str:
    """A table of one row per chip and model, and the scorecard, in markdown.

    Rows are chosen without regard to their error: of each chip and model with
    unflagged rows, in turn the one of smallest, middle and largest batch.
    ``source`` limits both tables to rows of one source.
    """
    chosen = [p for p in report.predictions if source in ("", p.row.source)]
    examples = _table(_example_rows(_examples(chosen)))
    kept = [
        replace(group, source="" if source else group.source)
        for group in report.groups
        if source in ("", group.source)
    ]
    scores = score_rows(Report(predictions=(), groups=tuple(kept), faults=()))
    return (
        f"{examples}\n\nMAPE / median / bias in percent, "
        f"{sum(g.rows for g in kept if g.kind == ALL)} rows:\n\n{_table(scores)}"
    )


def _examples(predictions: Sequence[Prediction]) -> list[Prediction]:
    by_model: dict[tuple[str, str], list[Prediction]] = {}
    for p in predictions:
        if not p.row.flag:
            by_model.setdefault((p.row.chip, p.row.model), []).append(p)
    chosen: list[Prediction] = []
    for turn, key in enumerate(sorted(by_model)):
        ranked = sorted(by_model[key], key=lambda p: p.row.batch)
        chosen.append(ranked[(len(ranked) - 1) * (turn % 3) // 2])
    return chosen


def _example_rows(predictions: Sequence[Prediction]) -> list[list[str]]:
    header = ["chips", "model", "bits", "task", "batch"]
    header += ["ITL [ms] measured", "predicted", "error"]
    header += ["J/token measured", "predicted", "error"]
    return [header, *(_example_cells(p) for p in predictions)]


def _example_cells(p: Prediction) -> list[str]:
    row = p.row
    latency = metric_error(p, "inter_token_latency")
    energy = metric_error(p, "energy_per_token")
    return [
        f"{row.num_chips:g} x {row.chip}",
        row.model.rpartition("/")[2],
        f"{row.weight_bits:g}",
        row.task,
        f"{row.batch:.0f}",
        f"{row.inter_token_latency * MILLISECONDS:.1f}",
        f"{p.inter_token_latency * MILLISECONDS:.1f}",
        _percent(latency, signed=True) + " %",
        f"{row.energy_per_token:.3g}",
        f"{p.energy_per_token:.3g}",
        _percent(energy, signed=True) + " %",
    ]


def _chip_cell(group: Group) -> str:
    parts = [group.chip, group.source, "flagged" if group.flagged else ""]
    return ", ".join(part for part in parts if part)


def _score_cell(group: Group, metric: str) -> str:
    found = group.scores[metric]
    if not found.count:
        return UNSCORED
    shares = [_percent(found.mean), _percent(found.median)]
    return " / ".join([*shares, _percent(found.bias, signed=True)])


def _percent(share: float, *, signed: bool = False) -> str:
    return f"{round(100 * share):+d}" if signed else f"{100 * share:.1f}"


def _table(cells: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in cells]
    rule = "|" + "---|" * len(cells[0])
    return "\n".join([lines[0], rule, *lines[1:]])


def _prediction_cells(p: Prediction) -> dict[str, object]:
    measured = {
        f.name: getattr(p.row, f.name)
        for f in fields(MeasuredRow)
        if f.name not in METRICS
    }
    values: dict[str, object] = {**measured, "kind": p.kind}
    for name, column in METRICS.items():
        if name == column:
            values[f"measured_{name}"] = getattr(p.row, column)
        values[f"predicted_{name}"] = getattr(p, name)
        values[f"error_{name}"] = metric_error(p, name)
    values["memory_fraction"] = p.memory_fraction
    return {**_input_units(p), **values, "fault": ""}


def _input_units(p: Prediction) -> dict[str, object]:
    """Predictions with their intervals, in the units of the measured columns."""
    known = stack_intervals(stack_of(p.row))
    cells: dict[str, object] = {}
    for column, (metric, scale) in COLUMNS.items():
        value = getattr(p, metric) * scale
        value *= p.row.num_chips if metric == "power" else 1.0
        low, high = known[metric].around(value)
        cells |= {column: value, f"{column}_lo": low, f"{column}_hi": high}
    return cells


def _without_nan(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_nan(value) for key, value in tree.items()}
    if isinstance(tree, float) and math.isnan(tree):
        return None
    return tree
