"""Which targets are reached?

Everything that the scorecard measured -> one table: reach, aim, measured.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from score_tables import ITL, JOULES, elasticities, errors, markdown

from codesign.calibrate.calibrate import Calibration
from codesign.calibrate.deltas import Delta
from codesign.calibrate.kernel_fit import KernelFit
from codesign.calibrate.predict import Prediction
from codesign.calibrate.score import Score

DENSE, WIDE_EXPERTS, NARROW = "dense 16-bit", "MoE 16-bit", "low-precision"
STEP, POWER = "step_time", "power_at_step"
KERNELS = (
    ("GEMM", "bfloat16", 6, 4),
    ("GEMM", "fp8", 10, 7),
    ("decode attention", "bfloat16", 11, 8),
    ("experts", "bfloat16", 18, 12),
)
"""Kind, format, median error asked for and aimed at, in percent."""
LLAMA = "meta-llama/Llama-3.1-70B"
UNASKED = ("", "")


@dataclass(frozen=True)
class Evidence:
    """What the rows are read from.

    Calibrations of measured energy by chip and of tuned engines, pairs of runs of
    either, kernels, and the scores of a chip outside of the fit.
    """

    energy: Mapping[str, Calibration]
    tuned: Sequence[Calibration]
    energy_pairs: Sequence[Delta]
    tuned_pairs: Sequence[Delta]
    kernels: Sequence[KernelFit]
    unseen_chip: Mapping[str, Score]


def target_table(found: Evidence) -> str:
    """Errors are MAPE / median in percent unless the row says otherwise."""
    header = ["quantity", "reach", "aim", "measured", "runs", "models"]
    rows = [*_energy(found), *_times(found), *_constants(found), *_others(found)]
    return markdown(header, rows)


def _of(kind: str) -> Callable[[Prediction], bool]:
    return lambda p: p.kind.endswith(kind)


def _row(
    name: str, asked: tuple[str, str], *, members: Sequence[Prediction], metric: str
) -> list[str]:
    found = errors(members, metric)
    models = len({p.row.model for p in members})
    shown = f"{100 * found.mean:.1f} / {100 * found.median:.1f} %"
    return [name, *asked, shown, str(found.count), str(models)]


def _energy(found: Evidence) -> list[list[str]]:
    rows = [
        ("J/token, dense, H100", ("9 %", "6 %"), ("H100",), DENSE),
        ("J/token, dense, B200", ("10 %", "7 %"), ("B200",), DENSE),
        ("J/token, 16-bit MoE, H100", ("15 %", "11 %"), ("H100",), WIDE_EXPERTS),
        ("J/token, 16-bit MoE, B200", ("18 %", "12 %"), ("B200",), WIDE_EXPERTS),
        ("J/token, low precision", ("20 %", "13 %"), ("H100", "B200"), NARROW),
        ("of these on H100", UNASKED, ("H100",), NARROW),
        ("of these on B200", UNASKED, ("B200",), NARROW),
    ]
    return [
        _row(name, asked, members=_members(found, *chips, kind=kind), metric=JOULES)
        for name, asked, chips, kind in rows
    ]


def _times(found: Evidence) -> list[list[str]]:
    rows = [
        ("ITL, H100", ("8 %", "6 %"), "H100", "", ITL),
        ("ITL, dense, H100", ("5 %", "4 %"), "H100", DENSE, ITL),
        ("ITL, B200", ("18 %", "13 %"), "B200", "", ITL),
        ("power at the measured step, H100", ("9 %", "6 %"), "H100", "", POWER),
        ("power at the measured step, B200", ("11 %", "7 %"), "B200", "", POWER),
        ("step time, H100", ("8 %", "6 %"), "H100", "", STEP),
        ("step time, B200", ("17 %", "12 %"), "B200", "", STEP),
    ]
    return [
        _row(name, asked, members=_members(found, chip, kind=kind), metric=metric)
        for name, asked, chip, kind, metric in rows
    ]


def _members(found: Evidence, *chips: str, kind: str) -> list[Prediction]:
    return [p for chip in chips for p in found.energy[chip].unseen if _of(kind)(p)]


def _constants(found: Evidence) -> list[list[str]]:
    rows: list[list[str]] = []
    for calibration in (found.energy["H100"], found.energy["B200"], *found.tuned):
        labels = [c.label for c in calibration.constants if not c.inferred]
        joules = sum("energy_factor" in x or "power_factor" in x for x in labels)
        rows.append(
            [
                f"fitted constants, `{calibration.stack}`",
                "8 time + 5 power",
                "half of that",
                f"{len(labels) - joules} time + {joules} power",
                str(calibration.runs),
                str(calibration.models),
            ]
        )
    return rows


def _others(found: Evidence) -> list[list[str]]:
    tuned = [p for calibration in found.tuned for p in calibration.unseen]
    llama = [p for p in tuned if p.row.model == LLAMA]
    asked = (("10 %", "7 %"), ("15 %", "10 %"))
    return [
        *_unseen_chip(found),
        *_ratios(found),
        _elasticity(found),
        _row(
            "time per token, tuned engines, Llama 70B",
            asked[0],
            members=llama,
            metric=ITL,
        ),
        _row("time per token, tuned engines, all", asked[1], members=tuned, metric=ITL),
        *_kernels(found),
    ]


def _unseen_chip(found: Evidence) -> list[list[str]]:
    rows = ((ITL, "ITL", ("20 %", "16 %")), (JOULES, "J/token", ("22 %", "15 %")))
    return [
        [
            f"{name} of B200 from its data sheet, constants of H100, maturity 1.25",
            *asked,
            f"{100 * found.unseen_chip[metric].mean:.1f} / "
            f"{100 * found.unseen_chip[metric].median:.1f} %",
            str(found.unseen_chip[metric].count),
            "11",
        ]
        for metric, name, asked in rows
    ]


def _ratios(found: Evidence) -> list[list[str]]:
    pairs = [*found.energy_pairs, *found.tuned_pairs]
    tensor, batch = "tensor parallelism doubled", "batch doubled"
    groups = (
        ("H100 to H200, TPOT", ("8 %", "5 %"), ("chip H100 to H200",), ITL),
        ("H100 to B200, J/token", ("15 %", "10 %"), ("chip H100 to B200",), JOULES),
        (f"{tensor}, ITL", ("10 %", "7 %"), _on(tensor), ITL),
        (f"{batch}, ITL", ("6 %", "4 %"), _on(batch), ITL),
        (f"{batch}, J/token", ("6 %", "4 %"), _on(batch), JOULES),
    )
    rows: list[list[str]] = []
    for name, asked, changes, metric in groups:
        members = [d for d in pairs if d.change in changes and d.metric == metric]
        count = sum(d.pairs for d in members)
        shown = ", ".join(f"{100 * d.error:.1f} % ({_chip(d)})" for d in members)
        rows.append(
            [f"median error of the ratio: {name}", *asked, shown, f"{count}", ""]
        )
    return rows


def _on(change: str) -> tuple[str, ...]:
    """The change on every chip whose times are a law of the chip."""
    return tuple(f"{change}, {chip}" for chip in ("H100", "H200", "B200"))


def _chip(delta: Delta) -> str:
    return delta.change.rpartition(", ")[2].removeprefix("chip ")


def _elasticity(found: Evidence) -> list[str]:
    low, high, measured, predicted, pairs = elasticities(found.tuned_pairs)
    return [
        f"elasticity of TPOT to HBM bandwidth, measured {measured:.2f} "
        f"({high:.2f} to {low:.2f})",
        f"{measured:.2f} ± .10",
        "± .05",
        f"{predicted:.2f}",
        str(pairs),
        "1",
    ]


def _kernels(found: Evidence) -> list[list[str]]:
    rows: list[list[str]] = []
    for kind, form, reach, aim in KERNELS:
        members = [k for k in found.kernels if (k.kind, k.format) == (kind, form)]
        shown = ", ".join(
            f"{100 * k.unseen.median:.1f} % ({k.chip}, {k.software})" for k in members
        )
        count = sum(k.rows for k in members)
        name = f"kernels, median: {kind} {form}, rates of the other half of the shapes"
        rows.append([name, f"{reach} %", f"{aim} %", shown, str(count), ""])
    return rows
