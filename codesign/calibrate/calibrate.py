"""What does a calibration conclude, and how is it kept?

Files of measured rows and models -> a ``Calibration``: fitted constants with
intervals, scores on unseen models; and the stack that holds them, as YAML.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.calibrate.fit import FARTHEST, Fit, felt, of_requests
from codesign.calibrate.folds import leave_one_model_out, predict
from codesign.calibrate.groups import Group, group_scores
from codesign.calibrate.intervals import Interval, coverage, error_intervals
from codesign.calibrate.predict import Prediction
from codesign.calibrate.runs import Runs, gather_runs
from codesign.config.calibration import load_constants
from codesign.config.catalogue import read_preset
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
    the constant move no further.
    """

    label: str
    unit: str
    before: float
    prior: float
    value: float
    low: float
    high: float
    at_end: bool


@dataclass(frozen=True)
class Calibration:
    """Constants fitted to the runs of one chip, and how good they are.

    ``unseen`` are predictions of each model by a fit without it, ``groups`` their
    scores, ``in_sample`` those of the fit to all runs, ``before`` those of the
    shipped constants; ``errors`` the 80 % intervals of ln(measured / predicted)
    and ``covered`` the share of runs that intervals from other models hold.
    ``covariance`` is that of ln(constants), from the curvature of the loss.
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


def calibrate(
    rows_path: str | Path,
    models_path: str | Path | None = None,
    *,
    chip: str,
    source: str = "",
    engine: str = "",
    constants: str | Path = "serving",
    progress: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Fit a stack's constants to the measured runs of one chip.

    ``chip`` is the name in the column ``gpu``, or several with commas between that
    share one stack; ``source`` and ``engine`` keep the rows of one source and of one
    serving engine; ``constants`` names what is fitted, with priors. Rows that the
    source flags as irregular are not used.

    Raises:
        InputError: a file cannot be read, or too few runs are left.
        Float64DisabledError: 64-bit floats are off.
    """
    models = {} if models_path is None else read_model_rows(models_path)
    given = read_rows(rows_path)
    chips = chip.split(",")
    kept = [
        row
        for row in given.rows
        if row.chip in chips
        and source in ("", row.source)
        and engine in ("", engine_of(row))
    ]
    asked = load_constants(constants)
    waiting = of_requests(asked)
    usable = [r for r in kept if not r.flag and _complete(r, waiting=waiting)]
    runs, faults = gather_runs(usable, models)
    if runs is None:
        raise InputError(
            _nothing(given.rows, chip=chip, source=source, engine=engine)
            + (" Constants of requests need ttft_ms." if waiting else "")
        )
    wanted = felt(runs, asked)
    folds = leave_one_model_out(runs, wanted, progress=progress)
    return Calibration(
        chip=chip,
        stack=stack_of(runs.rows[0]),
        runs=folds.fit.rows,
        models=folds.fit.models,
        constants=_fitted(folds.fit, runs, jackknife=folds.jackknife),
        correlations=_correlations(folds.fit),
        groups=group_scores(folds.unseen),
        in_sample=group_scores(predict(runs, folds.fit)),
        errors=error_intervals(folds.unseen),
        covered=coverage(folds.unseen),
        unseen=folds.unseen,
        faults=(*given.faults, *faults),
        covariance=tuple(tuple(map(float, row)) for row in folds.fit.covariance),
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
                "status": "calibrated",
                "confidence": "B",
                "source": f"{found.runs} served runs of {found.models} models on "
                f"{found.chip}; +- one jackknife sigma over models",
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


def _nothing(
    rows: tuple[MeasuredRow, ...], *, chip: str, source: str, engine: str
) -> str:
    chips, sources, engines = (
        ", ".join(sorted(set(names) - {""})) or "none"
        for names in (
            (row.chip for row in rows),
            (row.source for row in rows),
            (engine_of(row) for row in rows),
        )
    )
    asked = f" of source {source!r}" if source else ""
    asked += f" on engine {engine!r}" if engine else ""
    return (
        f"no usable run on chip {chip!r}{asked}. Chips in the file: {chips}; "
        f"sources: {sources}; engines: {engines}. Runs need itl_ms and "
        "step_ms_effective, no flag."
    )


def _fitted(
    fit: Fit, runs: Runs, *, jackknife: NDArray[np.float64]
) -> tuple[Fitted, ...]:
    units = path_units(Design)
    found: list[Fitted] = []
    for place, constant in enumerate(fit.constants):
        values = np.asarray(get_path(runs.designs, constant.path))
        before = 1.0 if constant.tasks else float(values.flat[0])
        move, spread = fit.moves[place], jackknife[place]
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
