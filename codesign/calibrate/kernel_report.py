"""How wrong is the roofline of single kernels, as a report?

Files of measured kernels -> predictions, errors with rates as shipped and as fitted
to other shapes, and each row that could not be predicted.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codesign.calibrate.kernel_fit import KernelFit, fit_kernels
from codesign.calibrate.kernels import (
    KernelGroup,
    KernelPrediction,
    kernel_groups,
    predict_kernels,
)
from codesign.calibrate.score import Score
from codesign.config.kernels import read_kernels
from codesign.config.rows import RowFault

HEADER = (
    "kernel",
    "chip",
    "software",
    "format",
    "rows",
    "time, as shipped",
    "time, rates fitted",
    "compute",
    "bytes",
    "fixed",
    "exposed",
    "loop ns",
    "power",
)


@dataclass(frozen=True)
class KernelReport:
    """Predictions, errors by group, fits by group, and faults with their file."""

    predictions: tuple[KernelPrediction, ...]
    groups: tuple[KernelGroup, ...]
    bounds: tuple[KernelGroup, ...]
    fits: tuple[KernelFit, ...]
    faults: tuple[tuple[str, RowFault], ...]


def validate_kernels(paths: Sequence[str | Path]) -> KernelReport:
    """Score the roofline on measured kernels; nothing of the library is changed.

    Raises:
        InputError: a file cannot be read or is of no known kind.
        Float64DisabledError: 64-bit floats are off.
    """
    predictions: list[KernelPrediction] = []
    faults: list[tuple[str, RowFault]] = []
    for path in paths:
        given = read_kernels(path)
        done, unknown = predict_kernels(given.rows)
        predictions += done
        faults += [(Path(path).name, fault) for fault in (*given.faults, *unknown)]
    return KernelReport(
        predictions=tuple(predictions),
        groups=kernel_groups(predictions),
        bounds=kernel_groups(predictions, by_bound=True),
        fits=fit_kernels(predictions),
        faults=tuple(faults),
    )


def kernel_dict(report: KernelReport) -> dict[str, Any]:
    """Scores, fits and faults for JSON."""
    return {
        "rows": len(report.predictions),
        "groups": [asdict(group) for group in report.groups],
        "bounds": [asdict(group) for group in report.bounds],
        "fits": [asdict(fit) for fit in report.fits],
        "faults": [{"file": file, **asdict(fault)} for file, fault in report.faults],
    }


def kernel_cells(report: KernelReport) -> list[list[str]]:
    """One row per kind, chip, software and format, header first.

    Errors are MAPE / median / bias in percent; compute, bytes and fixed are the
    fitted factors on the three parts of the time, exposed the share of the shorter
    one that is not hidden, loop the time of one term of a sum.
    """
    fits = {(f.kind, f.chip, f.software, f.format): f for f in report.fits}
    rows = [
        _cells(group, fits.get((group.kind, group.chip, group.software, group.format)))
        for group in report.groups
    ]
    return [list(HEADER), *rows]


def bound_cells(report: KernelReport) -> list[list[str]]:
    """Errors as shipped by what the model says binds, header first."""
    header = ["kernel", "chip", "software", "format", "bound by", "rows", "time"]
    rows = [
        [g.kind, g.chip, g.software, g.format, g.bound, str(g.rows), _score(g.duration)]
        for g in report.bounds
    ]
    return [header, *rows]


def _cells(group: KernelGroup, fit: KernelFit | None) -> list[str]:
    fitted = ["-"] * 6
    if fit is not None:
        factors = (fit.compute, fit.memory, fit.fixed)
        more = (f"{float(fit.exposed):.2f}", f"{1e9 * float(fit.loop_time):.3f}")
        fitted = [_score(fit.unseen), *(f"{float(f):.2f}" for f in factors), *more]
    return [
        group.kind,
        group.chip,
        group.software,
        group.format,
        str(group.rows),
        _score(group.duration),
        *fitted,
        _score(group.power),
    ]


def _score(found: Score) -> str:
    if not found.count:
        return "-"
    percent = (100 * found.mean, 100 * found.median)
    return f"{percent[0]:.1f} / {percent[1]:.1f} / {100 * found.bias:+.0f}"
