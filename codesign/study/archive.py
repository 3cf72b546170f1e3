"""How is a result kept, so that its report can be drawn again?

``Result`` <-> plain data for JSON: the study as it was read, every rung with
its design, cost and quality, and the evidence. Nothing is computed anew.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from codesign.config.limits import Limit
from codesign.config.question import Search, Study
from codesign.config.sweep import Axis, Plan
from codesign.config.variables import Variable
from codesign.cost.record import Cost
from codesign.optimize.result import (
    Binding,
    Evidence,
    Loosening,
    Relaxation,
    Result,
    Rung,
    Waterfall,
)
from codesign.optimize.space import GOVERNOR, Floats
from codesign.optimize.trace import all_lost
from codesign.outcome.service import Service
from codesign.quality.evaluate import Quality
from codesign.serving.design import Design
from codesign.study.plain import finite_or_none, from_plain, to_plain

RECORDS = {"design": Design, "cost": Cost, "quality": Quality, "service": Service}


def result_to_dict(result: Result) -> dict[str, Any]:
    """Plain data of a result, SI units, NaN as None."""
    paths = variable_paths(result.study)
    evidence, waterfall = result.evidence, result.waterfall
    return finite_or_none(
        {
            "name": result.study.name,
            "status": result.status,
            "feasible": result.feasible,
            "seconds": result.seconds,
            "timings": dict(result.timings),
            "rungs": [_rung_to_dict(rung, paths) for rung in result.rungs],
            "evidence": None if evidence is None else asdict(evidence),
            "waterfall": None if waterfall is None else asdict(waterfall),
            "relaxation": relaxation_to_dict(result.relaxation, paths),
            "bound": result.bound,
            "study": study_to_dict(result.study),
        }
    )


def result_from_dict(data: Mapping[str, Any], *, folder: Path) -> Result:
    """The result of plain data; files of its study are looked for in a folder."""
    evidence = data["evidence"]
    study = study_from_dict(data["study"], folder=folder)
    paths = variable_paths(study)
    return Result(
        study=study,
        rungs=tuple(_rung_from_dict(rung, paths) for rung in data["rungs"]),
        evidence=None if evidence is None else _evidence(evidence),
        status=data["status"],
        seconds=_number(data["seconds"]),
        timings=dict(data["timings"]),
        waterfall=_waterfall(data["waterfall"]),
        relaxation=_relaxation(data.get("relaxation"), paths),
        bound=data.get("bound"),
    )


def study_to_dict(study: Study) -> dict[str, Any]:
    """Plain data of a study, its baseline included."""
    return {
        "name": study.name,
        "file": study.path.name,
        "baseline": to_plain(study.baseline),
        "baseline_text": study.baseline_text,
        "tune": study.tune,
        "free": [asdict(variable) for variable in study.free],
        "minimize": study.minimize,
        "limits": [asdict(limit) for limit in study.limits],
        "off": study.off,
        "search": asdict(study.search),
        "resolved": study.resolved,
        "sweep": None if study.sweep is None else asdict(study.sweep),
    }


def study_from_dict(data: Mapping[str, Any], *, folder: Path) -> Study:
    """The study of plain data, as if it stood in a folder."""
    return Study(
        name=data["name"],
        path=folder / Path(data["file"]).name,
        baseline=from_plain(Design, data["baseline"]),
        baseline_text=data["baseline_text"],
        tune=tuple(data["tune"]),
        free=tuple(_variable(entry) for entry in data["free"]),
        minimize=data["minimize"],
        limits=tuple(Limit(**entry) for entry in data["limits"]),
        off=tuple(data["off"]),
        search=Search(**data["search"]),
        resolved=data["resolved"],
        sweep=_plan(data.get("sweep")),
    )


def _plan(data: Mapping[str, Any] | None) -> Plan | None:
    if data is None:
        return None
    axes = tuple(_axis(axis) for axis in data["axes"])
    found: dict[str, Any] = {**data, "axes": axes}
    return Plan(**found)


def _axis(data: Mapping[str, Any]) -> Axis:
    found: dict[str, Any] = {**data, "values": tuple(data["values"])}
    return Axis(**found)


def _variable(data: Mapping[str, Any]) -> Variable:
    found: dict[str, Any] = {**data, "choices": tuple(data["choices"])}
    return Variable(**found)


def variable_paths(study: Study) -> tuple[str, ...]:
    """Dotted paths in the order of a rung's values."""
    return (*(variable.path for variable in study.free), *GOVERNOR)


def _rung_to_dict(rung: Rung, paths: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {
        each.name: getattr(rung, each.name) for each in fields(rung)
    }
    found["feasible"] = rung.feasible
    found["values"] = dict(zip(paths, map(float, rung.values), strict=True))
    for name in RECORDS:
        found[name] = to_plain(found[name])
    found["lost"] = [
        dict(zip(paths, map(float, row), strict=True)) for row in rung.lost
    ]
    return found


def _rung_from_dict(data: Mapping[str, Any], paths: tuple[str, ...]) -> Rung:
    found = {each.name: data[each.name] for each in fields(Rung) if each.name in data}
    for name in ("objective", "violation", "relaxed", "agreement"):
        found[name] = _number(found[name])
    for name, record_type in RECORDS.items():
        found[name] = from_plain(record_type, found[name])
    found["values"] = np.array([data["values"][path] for path in paths])
    found["lost"] = _lost(data, paths)
    found["trace"] = _trace(data["trace"])
    return Rung(**found)


def _lost(data: Mapping[str, Any], paths: tuple[str, ...]) -> Floats:
    """Values of lanes without a number."""
    rows = [[_number(row[path]) for path in paths] for row in data.get("lost", ())]
    return np.array(rows).reshape(-1, len(paths))


def _trace(entries: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple({key: _number(value) for key, value in e.items()} for e in entries)


def _evidence(data: Mapping[str, Any]) -> Evidence:
    found: dict[str, Any] = {
        **data,
        "binding": tuple(Binding(**entry) for entry in data["binding"]),
        "at_bound": tuple(data["at_bound"]),
        "kkt": _number(data["kkt"]),
    }
    return Evidence(**found)


def _waterfall(data: Mapping[str, Any] | None) -> Waterfall | None:
    if data is None:
        return None
    return Waterfall(**{name: _tupled(value) for name, value in data.items()})


def relaxation_to_dict(
    relaxation: Relaxation | None, paths: Sequence[str]
) -> dict[str, Any] | None:
    """Plain data of a relaxation, its values by path; None stays None."""
    if relaxation is None:
        return None
    lost = all_lost([relaxation], paths=paths)
    nearest = dict(zip(paths, map(float, relaxation.nearest), strict=True))
    named = {"nearest": nearest, "text": relaxation.text, "lost": list(lost.designs)}
    return {**asdict(relaxation), **named}


def _relaxation(
    data: Mapping[str, Any] | None, paths: tuple[str, ...]
) -> Relaxation | None:
    if data is None:
        return None
    return Relaxation(
        single=tuple(Loosening(**entry) for entry in data["single"]),
        joint=tuple(Loosening(**entry) for entry in data["joint"]),
        holding=tuple(Binding(**entry) for entry in data["holding"]),
        nearest=np.array([data["nearest"][path] for path in paths]),
        trace=_trace(data.get("trace", ())),
        lost=_lost(data, paths),
    )


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _number(value: Any) -> Any:
    return math.nan if value is None else value
