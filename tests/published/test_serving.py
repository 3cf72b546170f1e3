"""Predictions against measured serving runs (ML.ENERGY v3, Apache-2.0).

Bounds are median absolute errors with head-room over what was measured when
they were set, stated beside each; they catch a broken model, the error itself
is in the README.
"""

from pathlib import Path

import pytest

from codesign.calibrate.groups import METRICS, Group
from codesign.calibrate.validate import Report, validate

SAMPLE = Path(__file__).with_name("serving_sample.csv")
SOURCE = "mlenergy-v3"

# chip and class -> (latency, step, power, energy): bound on the median error.
BOUNDS = {
    ("H100", "dense 16-bit"): (0.06, 0.09, 0.12, 0.14),  # found .03 .04 .06 .08
    ("H100", "MoE 16-bit"): (0.22, 0.20, 0.18, 0.22),  # found .14 .12 .10 .14
    ("H100", "MoE low-precision"): (0.12, 0.09, 0.20, 0.21),  # found .06 .04 .12 .13
    ("B200", "dense 16-bit"): (0.18, 0.18, 0.15, 0.16),  # found .11 .11 .08 .10
    ("B200", "MoE 16-bit"): (0.25, 0.21, 0.21, 0.16),  # found .16 .13 .13 .08
    ("B200", "MoE low-precision"): (0.12, 0.12, 0.18, 0.19),  # found .06 .06 .11 .11
}
BOUNDED = ("inter_token_latency", "step_time", "power", "energy_per_token")
WORST_IN_SAMPLE = 0.35  # found .20, energy of gpt-oss-20b at batch 256
SAMPLE_MEDIAN = 0.16  # found .02 to .10


@pytest.fixture(scope="module")
def sample() -> Report:
    return validate(SAMPLE)


def test_sample_spans_chips_classes_and_batches(sample: Report):
    kinds = {(p.row.chip, p.kind.split()[0]) for p in sample.predictions}
    assert kinds == {(c, k) for c in ("H100", "B200") for k in ("dense", "MoE")}
    batches = [p.row.batch for p in sample.predictions]
    assert len(batches) >= 12
    assert min(batches) < 9
    assert max(batches) > 500
    assert not sample.faults


@pytest.mark.parametrize("metric", BOUNDED)
def test_sample_is_predicted(sample: Report, metric: str):
    for chip in ("H100", "B200"):
        group = next(g for g in sample.groups if (g.chip, g.kind) == (chip, "all"))
        assert group.scores[metric].median < SAMPLE_MEDIAN


def test_no_row_of_the_sample_is_far_off(sample: Report):
    for p in sample.predictions:
        for metric in BOUNDED:
            ratio = getattr(p, metric) / getattr(p.row, METRICS[metric])
            assert abs(ratio - 1) < WORST_IN_SAMPLE, (p.row.model, p.row.batch, metric)


@pytest.fixture(scope="module")
def groups(shared_data: Path) -> dict[tuple[str, str], Group]:
    report = validate(shared_data / "serving.csv", shared_data / "models.csv")
    assert not report.faults
    return {
        (g.chip, g.kind): g
        for g in report.groups
        if g.source == SOURCE and not g.flagged
    }


@pytest.mark.parametrize("key", BOUNDS, ids=" ".join)
def test_median_error_of_all_rows(
    groups: dict[tuple[str, str], Group], key: tuple[str, str]
):
    for metric, bound in zip(BOUNDED, BOUNDS[key], strict=True):
        assert groups[key].scores[metric].median < bound, metric
