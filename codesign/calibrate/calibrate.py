"""What does a calibration conclude, and how is it kept?

Files of measured rows and models -> a ``Calibration``: fitted constants with
intervals, scores on unseen models; and the stack that holds them, as YAML.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.calibrate.fit import FARTHEST, Case, Fit, felt, of_requests
from codesign.calibrate.folds import Folds, leave_one_model_out, predict
from codesign.calibrate.groups import Group, group_scores
from codesign.calibrate.intervals import Interval, coverage, error_intervals
from codesign.calibrate.kernel_power import KernelPower, fit_kernel_power, with_kernels
from codesign.calibrate.kernels import KernelPrediction, predict_kernels
from codesign.calibrate.predict import Prediction
from codesign.calibrate.runs import gather_runs
from codesign.config.calibration import load_constants
from codesign.config.catalogue import read_preset
from codesign.config.kernels import read_kernels
from codesign.config.plans import Part
from codesign.config.rows import MeasuredRow, RowFault, read_model_rows, read_rows
from codesign.config.servers import engine_of, stack_of
from codesign.config.units import format_quantity
from codesign.core.errors import InputError
from codesign.core.paths import get_path, path_units
from codesign.serving.design import Design

STACK = "stack."
LATENCY = "inter_token_latency"
WITH_TIME = (LATENCY, "step_time", "energy_per_token")
LEAST = 1e-3  # above the lowest value counts as there
NEARLY = 0.99  # of the way that a constant may move
CORRELATED = 0.5  # correlations from here on are reported


@dataclass(frozen=True)
class Fitted:
    """One constant: SI values before, of the prior and after, one sigma around it.

    ``low`` and ``high`` are the jackknife over models; factors of a task's
    prompt length are relative to the file's. ``at_end`` says that the prior lets
    the constant move no further, ``inferred`` that no run of the stack feels it: its
    value comes from the same constant of stacks fitted with it.
    """

    label: str
    unit: str
    before: float
    prior: float
    value: float
    low: float
    high: float
    at_end: bool
    inferred: bool


@dataclass(frozen=True)
class Calibration:
    """Constants fitted to the runs of one chip, and how good they are.

    ``unseen`` are predictions of each model by a fit without it, ``groups`` their
    scores, ``in_sample`` those of the fit to all runs, ``before`` those of the
    shipped constants; ``errors`` the 80 % intervals of ln(measured / predicted)
    and ``covered`` the share of runs that intervals from other models hold.
    ``covariance`` is that of ln(constants), from the curvature of the loss;
    ``kernels`` what single kernels said of power, if they were asked.
    """

    chip: str
    stack: str
    runs: int
    models: int
    constants: tuple[Fitted, ...]
    correlations: tuple[tuple[str, str, float], ...]
    groups: tuple[Group, ...]
    in_sample: tuple[Group, ...]
    errors: dict[str, Interval]
    covered: dict[str, float]
    unseen: tuple[Prediction, ...]
    faults: tuple[RowFault, ...]
    covariance: tuple[tuple[float, ...], ...]
    kernels: KernelPower | None


@dataclass(frozen=True)
class _Prepared:
    """A part with its runs, constants and what could not be used."""

    part: Part
    case: Case
    inferred: frozenset[str]
    kernels: KernelPower | None
    faults: tuple[RowFault, ...]


def calibrate(
    part: Part,
    models_path: str | Path | None = None,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Fit a stack's constants to the measured runs of one chip.

    Rows that the source flags as irregular are not used.

    Raises:
        InputError: a file cannot be read, or too few runs are left.
        Float64DisabledError: 64-bit floats are off.

    Example:
        calibrate(Part(rows=Path("serving.csv"), chip="H100"), "models.csv")
    """
    return calibrate_together([part], models_path, progress=progress)[0]


def calibrate_together(
    parts: Sequence[Part],
    models_path: str | Path | None = None,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Calibration, ...]:
    """Fit several stacks at once; their ``common`` constants inform one another.

    A model is left out of all of them at once.

    Raises:
        InputError: a file cannot be read, or too few runs are left.
        Float64DisabledError: 64-bit floats are off.
    """
    models = {} if models_path is None else read_model_rows(models_path)
    prepared = [_prepared(part, models, alone=len(parts) == 1) for part in parts]
    found = leave_one_model_out([each.case for each in prepared], progress=progress)
    return tuple(
        _concluded(each, folds) for each, folds in zip(prepared, found, strict=True)
    )


def _prepared(
    part: Part, models: Mapping[str, Mapping[str, str]], *, alone: bool
) -> _Prepared:
    given = read_rows(part.rows)
    asked = load_constants(part.constants)
    waiting = of_requests(asked)
    usable = [
        row
        for row in given.rows
        if row.chip in part.chip.split(",")
        and part.source in ("", row.source)
        and part.engine in ("", engine_of(row))
        and not row.flag
        and _complete(row, waiting=waiting)
    ]
    runs, faults = gather_runs(usable, models)
    if runs is None:
        raise InputError(
            _nothing(given.rows, part)
            + (" Constants of requests need ttft_ms." if waiting else "")
        )
    kernels, unread = None, ()
    if part.kernels:
        predictions, unread = _kernels(part.kernels)
        chip = part.kernel_chip or part.chip
        kernels = fit_kernel_power(predictions, chip=chip)
        asked = with_kernels(asked, kernels)
    moving = felt(runs, asked)
    others = () if alone else tuple(c for c in asked if c.common and c not in moving)
    return _Prepared(
        part=part,
        case=Case(runs, (*moving, *others)),
        inferred=frozenset(c.label for c in others),
        kernels=kernels,
        faults=(*given.faults, *faults, *unread),
    )


@functools.cache
def _kernels(
    files: tuple[Path, ...],
) -> tuple[tuple[KernelPrediction, ...], tuple[RowFault, ...]]:
    """Predictions of the kernels whose power was read, and lines that say nothing."""
    predictions: list[KernelPrediction] = []
    unread: list[RowFault] = []
    for file in files:
        given = read_kernels(file)
        done, unknown = predict_kernels([row for row in given.rows if row.power > 0])
        predictions += done
        unread += [
            replace(fault, message=f"{file.name}: {fault.message}")
            for fault in (*given.faults, *unknown)
        ]
    return tuple(predictions), tuple(unread)


def _concluded(prepared: _Prepared, folds: Folds) -> Calibration:
    case, found = prepared.case, folds.fit
    return Calibration(
        chip=prepared.part.chip,
        stack=stack_of(case.runs.rows[0]),
        runs=found.rows,
        models=found.models,
        constants=_fitted(found, prepared, jackknife=folds.jackknife),
        correlations=_correlations(found),
        groups=group_scores(folds.unseen),
        in_sample=group_scores(predict(case.runs, found)),
        errors=error_intervals(folds.unseen),
        covered=coverage(folds.unseen),
        unseen=folds.unseen,
        faults=prepared.faults,
        covariance=tuple(tuple(map(float, row)) for row in found.covariance),
        kernels=prepared.kernels,
    )


def stack_document(found: Calibration, *, name: str, command: str) -> dict[str, Any]:
    """The calibrated stack as the content of a YAML file.

    Fitted constants replace those of the stack that the runs had; ``fit`` says from
    what, how good they are on unseen models, and the command that repeats it.
    Intervals of metrics that were not measured stay those of that stack, those of
    step time and energy at least as wide as that of the latency.
    """
    document = read_preset("stacks", found.stack).data
    values = {key: dict(entry) for key, entry in document["values"].items()}
    units = path_units(Design)
    for constant in found.constants:
        key = constant.label.removeprefix(STACK)
        if constant.label in units and constant.label.startswith(STACK):
            unit = units[constant.label]
            low, value, high = (
                format_quantity(number, unit, digits=4)
                for number in (constant.low, constant.value, constant.high)
            )
            values[key] = {
                "value": _plain(value),
                "low": _plain(low),
                "high": _plain(high),
                "status": "derived" if constant.inferred else "calibrated",
                "confidence": "C" if constant.inferred else "B",
                "source": _source(found, constant),
            }
    return {
        "name": name,
        "title": document.get("title", name),
        "aliases": [],
        "note": document.get("note", ""),
        **({"serves": dict(document["serves"])} if "serves" in document else {}),
        "values": values,
        "fit": {
            "command": command,
            "runs": found.runs,
            "models": found.models,
            "others": {
                c.label: float(f"{c.value:.4g}")
                for c in found.constants
                if c.label.removeprefix(STACK) not in values
            },
            "covariance": _covariance(found),
            "errors": {
                metric: {"low": round(i.low, 4), "high": round(i.high, 4)}
                for metric, i in _all_intervals(found, document).items()
            },
        },
    }


def _source(found: Calibration, constant: Fitted) -> str:
    if constant.inferred:
        return (
            "no run of this stack; from runs of the stacks fitted with it, +- one sigma"
        )
    return (
        f"{found.runs} served runs of {found.models} models on {found.chip}; "
        "+- one jackknife sigma over models"
    )


def _covariance(found: Calibration) -> dict[str, list[float]]:
    """Of ln(constants): covariances with those before, and the own variance."""
    return {
        constant.label: [float(f"{value:.3g}") for value in row[: place + 1]]
        for place, (constant, row) in enumerate(
            zip(found.constants, found.covariance, strict=True)
        )
    }


def calibration_dict(found: Calibration) -> dict[str, Any]:
    """Everything but the single predictions, as plain data."""
    names = (
        "chip",
        "stack",
        "runs",
        "models",
        "correlations",
        "covariance",
        "covered",
    )
    return {name: getattr(found, name) for name in names} | {
        "constants": [asdict(c) for c in found.constants],
        "groups": [asdict(g) for g in found.groups],
        "in_sample": [asdict(g) for g in found.in_sample],
        "errors": {k: asdict(v) for k, v in found.errors.items()},
        "kernels": asdict(found.kernels) if found.kernels else None,
        "faults": [asdict(fault) for fault in found.faults],
    }


def _all_intervals(
    found: Calibration, document: Mapping[str, Any]
) -> dict[str, Interval]:
    """Intervals of the fit, and of the stack before it where nothing was measured."""
    given = document.get("fit", {}).get("errors", {})
    before = {k: Interval(float(v["low"]), float(v["high"])) for k, v in given.items()}
    latency = found.errors[LATENCY]
    wider = {
        metric: Interval(min(i.low, latency.low), max(i.high, latency.high))
        for metric, i in before.items()
        if metric in WITH_TIME
    }
    return before | wider | found.errors


def _complete(row: MeasuredRow, *, waiting: bool) -> bool:
    known = math.isfinite(row.inter_token_latency)
    if waiting and not math.isfinite(row.time_to_first_token):
        return False
    return known and (row.fixed_lengths or math.isfinite(row.step_time))


def _nothing(rows: Sequence[MeasuredRow], part: Part) -> str:
    chips, sources, engines = (
        ", ".join(sorted(set(names) - {""})) or "none"
        for names in (
            (row.chip for row in rows),
            (row.source for row in rows),
            (engine_of(row) for row in rows),
        )
    )
    asked = f" of source {part.source!r}" if part.source else ""
    asked += f" on engine {part.engine!r}" if part.engine else ""
    return (
        f"no usable run on chip {part.chip!r}{asked}. Chips in the file: {chips}; "
        f"sources: {sources}; engines: {engines}. Runs need itl_ms and "
        "step_ms_effective, no flag."
    )


def _fitted(
    fit: Fit, prepared: _Prepared, *, jackknife: NDArray[np.float64]
) -> tuple[Fitted, ...]:
    units, runs = path_units(Design), prepared.case.runs
    found: list[Fitted] = []
    for place, constant in enumerate(fit.constants):
        values = np.asarray(get_path(runs.designs, constant.path))
        before = 1.0 if constant.tasks else float(values.flat[0])
        inferred = constant.label in prepared.inferred
        own = constant.spread * math.sqrt(1 - constant.common) if inferred else 0.0
        move, spread = fit.moves[place], math.hypot(jackknife[place], own)
        found.append(
            Fitted(
                label=constant.label,
                unit="1" if constant.tasks else units[constant.path].text,
                before=before,
                prior=before * math.exp(fit.centre[place]),
                value=before * math.exp(move),
                low=before * math.exp(move - spread),
                high=before * math.exp(move + spread),
                at_end=bool(
                    abs(move - fit.centre[place]) > NEARLY * FARTHEST * constant.spread
                    or before * math.exp(move) < constant.low * (1 + LEAST)
                ),
                inferred=inferred,
            )
        )
    return tuple(found)


def _correlations(fit: Fit) -> tuple[tuple[str, str, float], ...]:
    sigma = np.sqrt(np.diag(fit.covariance))
    table = fit.covariance / sigma / sigma[:, None]
    labels = [c.label for c in fit.constants]
    pairs = [
        (labels[i], labels[j], float(table[i, j]))
        for i in range(len(labels))
        for j in range(i)
        if abs(table[i, j]) >= CORRELATED
    ]
    return tuple(sorted(pairs, key=lambda pair: -abs(pair[2])))


def _plain(text: str) -> str | float:
    """A number without unit as a number."""
    try:
        return float(text)
    except ValueError:
        return text
