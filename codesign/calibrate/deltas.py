"""Does the model see what one change does? Natural experiments in measured runs.

Predictions -> pairs of runs that differ in one thing, and how well the model
predicts the ratio between them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby

import numpy as np

from codesign.calibrate.predict import Prediction
from codesign.config.chips import chip_info
from codesign.config.rows import MeasuredRow

METRICS = ("inter_token_latency", "step_time", "energy_per_token")
SAME_BATCH = 1.05  # batches within this factor count as equal
SAME_OUTPUT = 1.3  # answers of a task differ by as much between repeats
DOUBLED = (1.8, 2.2)  # a batch larger by a factor between these is doubled


@dataclass(frozen=True)
class Delta:
    """Pairs of runs that differ in one thing, for one metric.

    ``measured`` and ``predicted`` are medians of the ratio after / before,
    ``quartiles`` those of the measured ratio, ``error`` the median of
    |ln(predicted ratio / measured ratio)|.
    """

    change: str
    metric: str
    pairs: int
    measured: float
    quartiles: tuple[float, float]
    predicted: float
    error: float


def deltas(predictions: Sequence[Prediction]) -> tuple[Delta, ...]:
    """Scores of every kind of pair among runs without a flag.

    A pair shares source, software, model, task and lengths, and differs in one of:
    the chip, the tensor-parallel degree (doubled, and the chips with it), the batch
    (doubled), the width of the weights.

    Assumes: batches and prompts within 5 % are equal, answers within 30 %.
    """
    ratios: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for change, before, after in _pairs(predictions):
        for metric in METRICS:
            measured = getattr(after.row, metric) / getattr(before.row, metric)
            predicted = getattr(after, metric) / getattr(before, metric)
            if math.isfinite(measured) and measured > 0:
                ratios.setdefault((change, metric), []).append((measured, predicted))
    return tuple(
        _delta(change, metric, ratios=np.array(found))
        for (change, metric), found in sorted(ratios.items())
    )


def _delta(change: str, metric: str, *, ratios: np.ndarray) -> Delta:
    measured, predicted = ratios.T
    return Delta(
        change=change,
        metric=metric,
        pairs=len(ratios),
        measured=float(np.median(measured)),
        quartiles=(
            float(np.quantile(measured, 0.25)),
            float(np.quantile(measured, 0.75)),
        ),
        predicted=float(np.median(predicted)),
        error=float(np.median(np.abs(np.log(predicted / measured)))),
    )


def _pairs(
    predictions: Sequence[Prediction],
) -> Iterator[tuple[str, Prediction, Prediction]]:
    usable = sorted((p for p in predictions if not p.row.flag), key=_subject)
    for _, group in groupby(usable, key=_subject):
        for first, second in combinations(group, 2):
            change, swapped = _change(first.row, second.row)
            if change:
                yield change, *((second, first) if swapped else (first, second))


def _subject(prediction: Prediction) -> tuple[str, str, str]:
    return prediction.row.source, prediction.row.model, prediction.row.task


def _change(one: MeasuredRow, two: MeasuredRow) -> tuple[str, bool]:
    """Name of the only difference of two runs, and whether the first comes last."""
    if not _same_requests(one, two):
        return "", False
    ratio = two.batch / one.batch
    same_batch = 1 / SAME_BATCH <= ratio <= SAME_BATCH
    doubled = DOUBLED[0] <= max(ratio, 1 / ratio) <= DOUBLED[1]
    different = [
        name
        for name, part in (("chip", _chip), ("bits", _bits), ("layout", _layout))
        if part(one) != part(two)
    ]
    if different == ["chip"] and same_batch:
        swapped = _age(one) > _age(two)
        first, last = (two, one) if swapped else (one, two)
        return f"chip {first.chip} to {last.chip}", swapped
    if different == ["bits"] and same_batch:
        wide, narrow = max(_bits(one), _bits(two)), min(_bits(one), _bits(two))
        return f"weights {wide[0]:g} to {narrow[0]:g} bit", _bits(one) == narrow
    if different == ["layout"] and same_batch and _tensor_doubled(one, two):
        swapped = bool(one.tensor_parallel > two.tensor_parallel)
        return f"tensor parallelism doubled, {one.chip}", swapped
    if not different and doubled:
        return f"batch doubled, {one.chip}", bool(ratio < 1)
    return "", False


def _same_requests(one: MeasuredRow, two: MeasuredRow) -> bool:
    prompts = math.log(two.prompt_length / one.prompt_length)
    answers = math.log(two.output_length / one.output_length)
    alike = abs(prompts) <= math.log(SAME_BATCH) and abs(answers) <= math.log(
        SAME_OUTPUT
    )
    return alike and one.framework == two.framework


def _age(row: MeasuredRow) -> tuple[float, float]:
    """Order of chips: the coarser node first, then the slower memory."""
    values = chip_info(row.chip).values
    bandwidth = values["parameters.dram_bandwidth"].value
    return -float(values["parameters.node"].value), float(bandwidth)


def _chip(row: MeasuredRow) -> str:
    return row.chip


def _layout(row: MeasuredRow) -> tuple[float, ...]:
    return (
        float(row.num_chips),
        float(row.tensor_parallel),
        float(row.data_parallel),
        float(row.expert_parallel),
        float(row.expert_tensor_parallel),
        float(row.pipeline_parallel),
    )


def _bits(row: MeasuredRow) -> tuple[float, ...]:
    return float(row.weight_bits), float(row.activation_bits), float(row.kv_bits)


def _tensor_doubled(one: MeasuredRow, two: MeasuredRow) -> bool:
    """Whether all chips of both runs are tensor-parallel, twice as many in one."""
    pure = all(row.num_chips == row.tensor_parallel for row in (one, two))
    return pure and two.tensor_parallel / one.tensor_parallel in (0.5, 2.0)
