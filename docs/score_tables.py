"""Tables of the scorecard: errors by group and batch, intervals, ratios, constants.

Calibrations, ratios and groups of predictions -> tables in markdown.
"""

import math
from collections.abc import Callable, Iterator, Sequence

from codesign.calibrate.calibrate import Calibration
from codesign.calibrate.deltas import Delta
from codesign.calibrate.groups import ALL, Group, metric_error
from codesign.calibrate.predict import Prediction
from codesign.calibrate.score import Score, score
from codesign.calibrate.validate import HEADINGS
from codesign.config.chips import load_chip
from codesign.config.servers import engine_of
from codesign.core.quantities import Unit
from codesign.report.texts import quantity

ITL, JOULES = "inter_token_latency", "energy_per_token"
FIRST = "time_to_first_token"
SHOWN = (ITL, "step_time", "power_at_step", JOULES)
SAME_SILICON = "chip H100 to H200"
BATCHES = ((0, 16), (17, 64), (65, 256), (257, math.inf))
"""Sequences per replica of attention, smallest and largest of a class."""


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def score_table(found: Sequence[Calibration]) -> str:
    """One row per stack, chip and kind of model."""
    shown = (HEADINGS[name] for name in SHOWN)
    header = ["stack", "chip", "models", "runs", "of", *shown]
    rows = [
        [
            f"`{calibration.stack}`",
            group.chip,
            group.kind,
            str(group.rows),
            str(_models(calibration, group)),
            *(cell(group.scores[name]) for name in SHOWN),
        ]
        for calibration in found
        for group in calibration.groups
    ]
    return markdown(header, rows)


def latency_table(found: Sequence[Calibration]) -> str:
    """One row per chip and kind of model, time per output token only."""
    header = ["stack", "chip", "models", "runs", "of", "unseen models", "bias"]
    rows = [
        [
            f"`{calibration.stack}`",
            group.chip,
            group.kind,
            str(group.rows),
            str(_models(calibration, group)),
            cell(group.scores[ITL]),
            f"{100 * group.scores[ITL].bias:+.0f}",
        ]
        for calibration in found
        for group in calibration.groups
    ]
    return markdown(header, rows)


def first_token_table(first: Calibration, engines: Sequence[Calibration]) -> str:
    """One row per engine and chip: the engine that was fitted, then the others."""
    fitted = {engine_of(p.row) for p in first.unseen}
    others = [p for c in engines for p in c.unseen if engine_of(p.row) not in fitted]
    known = [p for p in (*first.unseen, *others) if _waited(p)]
    keys = dict.fromkeys((engine_of(p.row), p.row.chip) for p in known)
    rows: list[list[str]] = []
    for engine, chip in keys:
        members = [p for p in known if (engine_of(p.row), p.row.chip) == (engine, chip)]
        found = errors(members, FIRST)
        kind = "request constants" if engine in fitted else "none"
        models = str(len({p.row.model for p in members}))
        bias = f"{100 * found.bias:+.0f}"
        rows.append([engine, chip, str(len(members)), models, kind, cell(found), bias])
    header = ["engine", "chip", "runs", "of", "fitted on it", "TTFT", "bias"]
    return markdown(header, rows)


def _waited(prediction: Prediction) -> bool:
    return math.isfinite(prediction.row.time_to_first_token)


def batch_table(found: Sequence[Calibration]) -> str:
    """Errors of unseen models by chip and sequences per replica."""
    header = ["chip", "batch", "runs", "of", *(HEADINGS[name] for name in SHOWN)]
    rows: list[list[str]] = []
    for calibration in found:
        for low, high in BATCHES:
            inside = [p for p in calibration.unseen if low <= _batch(p) < high + 1]
            if inside:
                name = f"{low:g} to {high:g}" if high < math.inf else f"from {low:g}"
                rows.append(
                    [
                        calibration.chip,
                        name,
                        str(len(inside)),
                        str(len({p.row.model for p in inside})),
                        *(cell(errors(inside, metric)) for metric in SHOWN),
                    ]
                )
    return markdown(header, rows)


def interval_table(found: Sequence[Calibration]) -> str:
    """One row per stack and metric."""
    rows = [
        [
            f"`{calibration.stack}`",
            HEADINGS[metric],
            f"{100 * (interval.around(1.0)[0] - 1):+.0f} to "
            f"{100 * (interval.around(1.0)[1] - 1):+.0f} %",
            f"{100 * calibration.covered[metric]:.0f} %",
        ]
        for calibration in found
        for metric, interval in calibration.errors.items()
        if metric in calibration.covered
    ]
    return markdown(["stack", "metric", "interval", "runs inside"], rows)


def ratio_table(found: Sequence[Delta]) -> str:
    """One row per change and metric."""
    rows = [
        [
            delta.change,
            HEADINGS[delta.metric],
            str(delta.pairs),
            f"{delta.measured:.2f} ({delta.quartiles[0]:.2f} to "
            f"{delta.quartiles[1]:.2f})",
            f"{delta.predicted:.2f}",
            f"{100 * delta.error:.1f} %",
        ]
        for delta in found
    ]
    header = ["change", "metric", "pairs", "measured", "predicted", "error"]
    return markdown(header, rows)


def elasticities(found: Sequence[Delta]) -> tuple[float, float, float, float, int]:
    """Elasticity of time per token to bandwidth from runs on H100 and H200.

    Quartiles, measured and predicted median, and the number of pairs.
    """
    (pair,) = (d for d in found if (d.change, d.metric) == (SAME_SILICON, ITL))
    slow, fast = (float(load_chip(chip).dram.bandwidth) for chip in ("H100", "H200"))
    more = math.log(fast / slow)
    ratios = (*pair.quartiles, pair.measured, pair.predicted)
    low, high, measured, predicted = (math.log(ratio) / more for ratio in ratios)
    return low, high, measured, predicted, pair.pairs


def elasticity(found: Sequence[Delta]) -> str:
    """The same as a sentence."""
    low, high, measured, predicted, pairs = elasticities(found)
    return (
        f"measured {measured:.2f} (quartiles {high:.2f} to {low:.2f}, {pairs} "
        f"pairs), predicted {predicted:.2f}"
    )


def constant_tables(found: Sequence[Calibration]) -> Iterator[str]:
    """Constants of every stack, with one sigma over models."""
    for calibration in found:
        yield f"### {calibration.stack}"
        rows = [
            [
                f"`{c.label}`",
                *(quantity(v, Unit(c.unit)) for v in (c.prior, c.value)),
                f"{quantity(c.low, Unit(c.unit))} to {quantity(c.high, Unit(c.unit))}"
                + (", no run: from the other stacks" if c.inferred else ""),
            ]
            for c in calibration.constants
        ]
        yield markdown(["constant", "prior", "fitted", "one sigma"], rows)


def errors(
    predictions: Sequence[Prediction],
    metric: str,
    *,
    keep: Callable[[Prediction], bool] = lambda _: True,
) -> Score:
    """Summary of the errors of one metric."""
    return score([metric_error(p, metric) for p in predictions if keep(p)])


def cell(found: Score) -> str:
    """MAPE / median in percent."""
    return f"{100 * found.mean:.1f} / {100 * found.median:.1f}" if found.count else "-"


def _batch(prediction: Prediction) -> float:
    return prediction.row.batch / prediction.row.data_parallel


def _models(found: Calibration, group: Group) -> int:
    members = [
        p
        for p in found.unseen
        if group.kind in (ALL, p.kind) and p.row.chip == group.chip
    ]
    return len({p.row.model for p in members})
