"""For which chips and models is the model how good?

Predictions -> scores by source, chip, class of model, flagged or not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from codesign.calibrate.predict import Prediction
from codesign.calibrate.score import Score, relative_error, score

METRICS = {
    "inter_token_latency": "inter_token_latency",
    "step_time": "step_time",
    "power": "power",
    "power_at_step": "power",
    "energy_per_token": "energy_per_token",
    "time_to_first_token": "time_to_first_token",
}
"""Metric of a prediction, and the measured column that it is held against."""

ALL = "all"


@dataclass(frozen=True)
class Group:
    """Scores of rows of one source, chip and class of model, by metric."""

    source: str
    chip: str
    kind: str
    flagged: bool
    rows: int
    scores: dict[str, Score]


def metric_error(prediction: Prediction, metric: str) -> float:
    """Relative error of one metric of a prediction."""
    measured = getattr(prediction.row, METRICS[metric])
    return relative_error(getattr(prediction, metric), measured)


def group_scores(predictions: Sequence[Prediction]) -> tuple[Group, ...]:
    """Scores of every group: each chip as a whole, then by class of model.

    Rows that the source flags as irregular are scored apart.
    """
    keys = {
        (bool(p.row.flag), p.row.source, p.row.chip, kind)
        for p in predictions
        for kind in (ALL, p.kind)
    }
    ordered = sorted(keys, key=lambda key: (*key[:3], key[3] != ALL, key[3]))
    return tuple(
        _group(predictions, flagged=flagged, source=source, chip=chip, kind=kind)
        for flagged, source, chip, kind in ordered
    )


def _group(
    predictions: Sequence[Prediction],
    *,
    flagged: bool,
    source: str,
    chip: str,
    kind: str,
) -> Group:
    members = [
        p
        for p in predictions
        if bool(p.row.flag) == flagged
        and (p.row.source, p.row.chip) == (source, chip)
        and kind in (ALL, p.kind)
    ]
    return Group(
        source=source,
        chip=chip,
        kind=kind,
        flagged=flagged,
        rows=len(members),
        scores={
            metric: score([metric_error(p, metric) for p in members])
            for metric in METRICS
        },
    )
