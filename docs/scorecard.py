"""Fill the scorecard: how wrong is the model on models that it has not seen?

    python docs/scorecard.py DATA

DATA is the folder of measured data (serving.csv, models.csv, serving_latency.csv,
cross_vendor.csv, mlperf.csv). Calibrates every stack of ``STACKS`` with one model
left out at a time, scores ratios between runs that differ in one thing with the
shipped constants, chips and boundaries outside of the fit, writes
``docs/scorecard.md`` and the table between the two marks of ``README.md``.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from other_machines import cross_vendor_rows, unseen_chip_rows, wall_rows

from codesign.calibrate.calibrate import Calibration, calibrate
from codesign.calibrate.deltas import Delta, deltas
from codesign.calibrate.groups import ALL, Group
from codesign.calibrate.validate import HEADINGS, validate
from codesign.config.chips import load_chip
from codesign.core.checks import enable_x64
from codesign.core.quantities import Unit
from codesign.report.texts import quantity

BEGIN, END = "<!-- scorecard:begin -->", "<!-- scorecard:end -->"
ROOT = Path(__file__).resolve().parents[1]
STACKS = (
    ("H100", "mlenergy-v3", "serving"),
    ("B200", "mlenergy-v3", "serving"),
    ("A100-SXM4-40GB", "mlenergy-v2", "power"),
)
SAME_SILICON = "chip H100 to H200"
SHOWN = ("inter_token_latency", "step_time", "power_at_step", "energy_per_token")
INTRODUCTION = """\
Errors on measured serving runs of **models that the fit has not seen** (one model
left out at a time; MAPE / median in percent; runs that the source flags as irregular
are not used). Energy is that of the chips per output token, prefill included. A
repeated measurement differs by 3 % (H100) to 5-10 % (B200). On A100 only power was
fitted."""
PAGE = """\
# Scorecard

{introduction}

{table}

## Intervals

80 % intervals of a measurement around its prediction, from the same unseen models,
and the share of runs inside when a model's own runs do not enter its interval.

{intervals}

## Ratios

Pairs of runs that differ in one thing, with the shipped constants (in sample): does
the model see what the change does? Medians, quartiles of the measured ratio in
brackets; error is the median of |ln(predicted ratio / measured ratio)|.

{ratios}

## Other software

Mean time per output token at fixed lengths, from tables that entered no fit: newer
vLLM, SGLang and TensorRT-LLM, predicted with the stack shipped for each chip. Newer
software is faster on B200 than the vLLM 0.11 of its stack; {unpredicted} rows that
name an impossible layout are left out.

{latency}

{latency_ratios}

H100 and H200 differ in their memory alone, so that their ratio is an elasticity of the
time per output token to HBM bandwidth: {elasticity}.

## A chip that is not in the fit

B200 from its data sheet: silicon in the style of Hopper, the stack fitted to H100, and
a maturity of the software, 1 or the prior of 1.25 for the first stack on a new chip.
MAPE / median / bias in percent over unflagged B200 runs, none of which entered.

{unseen_chip}

## Other vendors

Static batches of LLM-Inference-Bench (2024), mean time per output token with the
prompt included, MAPE / median in percent. Nothing is fitted to them: AMD and Intel are
data sheets with the default stack of a GPU, A100 has the stack of vLLM 0.5, whose times
are no law of the chip. The vLLM of that time ran 2.7 times slower on MI300X, twice on
MI250 and eight times on Intel than data sheets and the default stack allow; llama.cpp
is slower still. {unmatched} rows name a model
whose shape the table does not hold.

{cross_vendor}

## Wall power

MLPerf results with measured wall power, CPUs, fans and conversion included, against the
`server` boundary on eight chips. Offline is the deployment of highest predicted
throughput that fits; submitters tune engines by hand, so throughput of a vLLM stack is
not theirs. The last column asks of energy alone: the predicted work above idle, at the
measured rate. Prompt lengths are assumed (`docs/other_machines.py`).

{wall}

## Constants

{constants}

## What to keep in mind

- The form of the model and the weight of the priors (`docs/theory/calibration.md`) were
  chosen while these errors were in view, so that errors on new models will be
  somewhat larger.
- Prompt lengths of chat and infill tasks are inferred by the source, not measured.
- Not in the joules of this table: host, network, power supply, cooling. `evaluate`
  adds them at the boundaries `server` and `facility`.
- Runs of vLLM 0.5 are bound by the host; their times are no law of the chip.

- Single kernels: [benchmarks/results/kernels.md](../benchmarks/results/kernels.md).
  Counts of operators: [theory/reference_model.md](theory/reference_model.md).

`python docs/scorecard.py DATA` writes this page.
"""


def score_table(found: Sequence[Calibration]) -> str:
    """One row per chip and kind of model."""
    header = ["chip", "models", "runs", "of", *(HEADINGS[name] for name in SHOWN)]
    rows = [
        [
            calibration.chip,
            group.kind,
            str(group.rows),
            str(_models(calibration, group)),
            *(_cell(group, name) for name in SHOWN),
        ]
        for calibration in found
        for group in calibration.groups
    ]
    return markdown(header, rows)


def latency_table(groups: Sequence[Group]) -> str:
    """One row per chip and kind of model, time per output token only."""
    rows = [
        [
            group.chip,
            group.kind,
            str(group.rows),
            _cell(group, SHOWN[0]),
            f"{100 * group.scores[SHOWN[0]].bias:+.0f}",
        ]
        for group in groups
    ]
    return markdown(["chip", "models", "rows", "time per token", "bias"], rows)


def interval_table(found: Sequence[Calibration]) -> str:
    """One row per chip and metric."""
    rows = [
        [
            calibration.chip,
            HEADINGS[metric],
            f"{100 * (interval.around(1.0)[0] - 1):+.0f} to "
            f"{100 * (interval.around(1.0)[1] - 1):+.0f} %",
            f"{100 * calibration.covered[metric]:.0f} %",
        ]
        for calibration in found
        for metric, interval in calibration.errors.items()
    ]
    return markdown(["chip", "metric", "interval", "runs inside"], rows)


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


def elasticity(found: Sequence[Delta]) -> str:
    """Elasticity of time per token to bandwidth from runs on H100 and H200."""
    (pair,) = (d for d in found if (d.change, d.metric) == (SAME_SILICON, SHOWN[0]))
    slow, fast = (float(load_chip(chip).dram.bandwidth) for chip in ("H100", "H200"))
    more = math.log(fast / slow)
    ratios = (*pair.quartiles, pair.measured, pair.predicted)
    low, high, measured, predicted = (math.log(ratio) / more for ratio in ratios)
    return (
        f"measured {measured:.2f} (quartiles {high:.2f} to {low:.2f}, {pair.pairs} "
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
                f"{quantity(c.low, Unit(c.unit))} to {quantity(c.high, Unit(c.unit))}",
            ]
            for c in calibration.constants
        ]
        yield markdown(["constant", "prior", "fitted", "one sigma"], rows)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def _table(cells: Sequence[Sequence[str]]) -> str:
    return markdown(cells[0], cells[1:])


def _cell(group: Group, metric: str) -> str:
    found = group.scores[metric]
    return f"{100 * found.mean:.1f} / {100 * found.median:.1f}" if found.count else "-"


def _models(found: Calibration, group: Group) -> int:
    members = [p for p in found.unseen if group.kind in (ALL, p.kind)]
    return len({p.row.model for p in members})


def main() -> None:
    """Read the arguments, calibrate, write."""
    data = Path(sys.argv[1])
    files = ("serving", "models", "serving_latency", "cross_vendor", "mlperf")
    rows, models, latency, vendors, mlperf = (data / f"{name}.csv" for name in files)
    enable_x64()
    found = [
        calibrate(rows, models, chip=chip, source=source, constants=constants)
        for chip, source, constants in STACKS
    ]
    pairs = deltas(validate(rows, models).predictions)
    other = validate(latency, models)
    newer = deltas(other.predictions)
    table = score_table(found)
    others, unmatched = cross_vendor_rows(vendors)
    page = PAGE.format(
        introduction=INTRODUCTION,
        table=table,
        intervals=interval_table(found),
        ratios=ratio_table(pairs),
        unpredicted=len(other.faults),
        latency=latency_table(other.groups),
        latency_ratios=ratio_table(newer),
        elasticity=elasticity(newer),
        unseen_chip=_table(unseen_chip_rows(rows, models)),
        cross_vendor=_table(others),
        unmatched=unmatched,
        wall=_table(wall_rows(mlperf)),
        constants="\n\n".join(constant_tables(found)),
    )
    (ROOT / "docs" / "scorecard.md").write_text(page, encoding="utf-8")
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    section = f"{BEGIN}\n{INTRODUCTION}\n\n{table}\n{END}"
    readme.write_text(f"{before}{section}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
