"""Errors and their summaries, on rows whose answers are known by hand."""

import dataclasses
import math

import pytest

from codesign.calibrate.groups import METRICS, group_scores, metric_error
from codesign.calibrate.predict import Prediction
from codesign.calibrate.score import relative_error, score
from codesign.calibrate.validate import Report, score_rows
from codesign.config.rows import MeasuredRow

MEASURED = {"inter_token_latency": 0.02, "step_time": 0.025, "power": 500.0}


def measured_row(**changes: object) -> MeasuredRow:
    numbers = {
        f.name: 1.0 for f in dataclasses.fields(MeasuredRow) if f.type is not str
    }
    texts = {"source": "s", "model": "m", "task": "t", "chip": "H100", "flag": ""}
    texts["framework"] = ""
    other = {"line": 2, "median_latency": True, "energy_per_token": 2.0}
    return MeasuredRow(**{**numbers, **texts, **other, **MEASURED, **changes})


def prediction(factor: float, *, kind: str = "dense 16-bit", **changes: object):
    row = measured_row(**changes)
    values = {name: factor * getattr(row, METRICS[name]) for name in METRICS}
    return Prediction(row=row, kind=kind, memory_fraction=0.5, **values)


def test_relative_error_is_signed():
    assert relative_error(0.9, 1.0) == pytest.approx(-0.1)
    assert relative_error(3.0, 2.0) == pytest.approx(0.5)


@pytest.mark.parametrize("measured", [math.nan, 0.0])
def test_nothing_measured_gives_no_error(measured: float):
    assert math.isnan(relative_error(1.0, measured))


def test_score_by_hand():
    found = score([0.1, -0.2, 0.6, math.nan])
    assert found.count == 3
    assert found.mean == pytest.approx(0.3)
    assert found.median == pytest.approx(0.2)
    assert found.bias == pytest.approx(0.5 / 3)


def test_score_of_no_rows_is_nan():
    found = score([])
    assert found.count == 0
    assert math.isnan(found.mean)
    assert math.isnan(found.median)
    assert math.isnan(found.bias)


def test_groups_split_by_chip_kind_source_and_flag():
    predictions = [
        prediction(1.1),
        prediction(0.8, kind="MoE 16-bit"),
        prediction(1.5, flag="low_power"),
        prediction(1.2, chip="B200"),
        prediction(2.0, source="other"),
    ]
    groups = {
        (g.source, g.chip, g.kind, g.flagged): g for g in group_scores(predictions)
    }
    whole = groups["s", "H100", "all", False]
    assert whole.rows == 2
    assert whole.scores["power"].mean == pytest.approx(0.15)
    assert whole.scores["power"].bias == pytest.approx(-0.05)
    assert groups["s", "H100", "dense 16-bit", False].rows == 1
    assert groups["s", "H100", "MoE 16-bit", False].scores[
        "energy_per_token"
    ].bias == pytest.approx(-0.2)
    assert groups["s", "H100", "all", True].scores["step_time"].mean == pytest.approx(
        0.5
    )
    assert groups["s", "B200", "all", False].rows == 1
    assert groups["other", "H100", "all", False].rows == 1


def test_every_row_is_in_exactly_one_whole_group():
    predictions = [
        prediction(1.0, chip=chip, flag=flag)
        for chip in ("H100", "B200")
        for flag in ("", "low_power")
    ]
    groups = group_scores(predictions)
    assert sum(g.rows for g in groups if g.kind == "all") == len(predictions)
    assert sum(g.rows for g in groups if g.kind != "all") == len(predictions)


def test_unmeasured_metric_does_not_count():
    found = group_scores([prediction(1.1, power=math.nan), prediction(1.1)])[0]
    assert found.rows == 2
    assert found.scores["power"].count == 1
    assert found.scores["step_time"].count == 2


def test_metric_error_compares_with_its_own_column():
    found = prediction(1.25)
    assert all(metric_error(found, name) == pytest.approx(0.25) for name in METRICS)


@pytest.mark.parametrize("first", [math.nan, 0.2])
def test_scores_of_metrics_that_no_run_has_are_left_out(first: float):
    made = (prediction(1.1, time_to_first_token=first),)
    header, cells, _ = score_rows(Report(made, group_scores(made), faults=()))
    assert ("TTFT" in header) == math.isfinite(first)
    assert cells[header.index("ITL")] == "10.0 / 10.0 / +10"
    assert "-" not in cells
