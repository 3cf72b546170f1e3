"""What is to be computed, so exactly that any process can do any part of it?

Study with a plan, columns and shard size <-> plain data, and the fingerprint
that every shard of the job carries.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jax

from codesign.config.catalogue import presets_directory
from codesign.config.limits import metric_units
from codesign.config.question import OBJECTIVE, Study
from codesign.config.sweep import LIMITS, QUALITY, Plan
from codesign.core.errors import BoundsError, InputError, UnknownNameError
from codesign.core.paths import nearest
from codesign.serving.design import Design
from codesign.study.archive import study_from_dict, study_to_dict
from codesign.study.plain import flatten

SHARD_SIZE = 8192
LARGEST_SHARD = 1_000_000
MOST_SHARDS = 200_000
SILENT = ("file", "baseline_text", "resolved", "name")
"""Entries of a study that say how it was written, not what it asks."""
OWN = {"violation": "1", "legal": "1", "feasible": "1", "point": "1"}
DETAIL = "breakdown."
PACKAGES = ("jax", "jaxlib", "numpy", "scipy")


@dataclass(frozen=True)
class Job:
    """A study whose ``sweep`` is computed shard by shard, and its columns."""

    study: Study
    metrics: tuple[str, ...]
    shard_size: int

    @property
    def plan(self) -> Plan:
        """Points of the job."""
        if self.study.sweep is None:
            raise InputError(f"{self.study.name}: the study has no sweep section.")
        return self.study.sweep

    @property
    def num_shards(self) -> int:
        """How many shards the points make."""
        return -(-self.plan.points // self.shard_size)

    def bounds(self, index: int) -> tuple[int, int]:
        """First point of a shard, and the one after its last."""
        start = index * self.shard_size
        return start, min(start + self.shard_size, self.plan.points)

    def units(self) -> dict[str, str]:
        """Unit of every column, in the order of the table."""
        axes = {axis.path: axis.unit for axis in self.plan.axes}
        known = metric_units()
        free = {v.path: v.unit for v in self.study.free} if self.plan.search else {}
        metrics = {name: known[name].text for name in self.metrics}
        own = dict(OWN) if not self.plan.search else {**OWN, "status": "1"}
        point = own.pop("point")
        return {"point": point, **axes, **free, **metrics, **own}


def build_job(
    asked: Study | Design,
    plan: Plan | None,
    *,
    metrics: Sequence[str] | None = None,
    minimize: str | None = None,
    shard_size: int | None = None,
) -> Job:
    """The job of sweeping a study, or a design, over the points of a plan.

    Raises:
        InputError: no plan, or one whose paths cannot be swept; an unknown metric.
    """
    study = asked if isinstance(asked, Study) else study_of(asked)
    plan = plan or study.sweep
    if plan is None:
        raise InputError("sweep: say over which parameters, with over={...}.")
    study = replace(study, sweep=plan, minimize=minimize or study.minimize)
    size = shard_size or (1 if plan.search else SHARD_SIZE)
    if not 0 < size <= LARGEST_SHARD:
        raise BoundsError(f"shard_size {size}: allowed is 1 to {LARGEST_SHARD}.")
    job = Job(
        study=study, metrics=_columns(study, plan, wanted=metrics), shard_size=size
    )
    if job.num_shards > MOST_SHARDS:
        raise BoundsError(
            f"{plan.points} points in shards of {size} are {job.num_shards} files; "
            f"at most {MOST_SHARDS}. Give a larger shard_size."
        )
    _check_columns(job)
    return job


def study_of(design: Design) -> Study:
    """A study with nothing free, around a design."""
    return Study(
        name="sweep",
        path=Path("sweep.yaml"),
        baseline=design,
        baseline_text={},
        tune=(),
        free=(),
        minimize=OBJECTIVE,
        limits=(),
    )


def _columns(
    study: Study, plan: Plan, *, wanted: Sequence[str] | None
) -> tuple[str, ...]:
    """Metrics by name or by group, such as ``chip.``; by default nearly all."""
    known = list(metric_units())
    if wanted is None:
        groups = [n for n in known if not n.startswith((DETAIL, QUALITY))]
        moved = [axis.path.startswith(("model.", QUALITY)) for axis in plan.axes]
        asked = [limit.metric.startswith(QUALITY) for limit in study.limits]
        if plan.search or any(moved) or any(asked):
            groups += ["quality.gap", "quality.loss"]
        return tuple(dict.fromkeys([*groups, study.minimize]))
    found: list[str] = []
    for name in wanted:
        chosen = [n for n in known if n == name or n.startswith(f"{name.rstrip('.')}.")]
        if not chosen:
            close = ", ".join(nearest(name, known) or known[:3])
            raise UnknownNameError(f"metric {name}: unknown. Close: {close}.")
        found += chosen
    return tuple(dict.fromkeys([*found, study.minimize]))


def _check_columns(job: Job) -> None:
    paths = [axis.path for axis in job.plan.axes]
    free = [variable.path for variable in job.study.free] if job.plan.search else []
    twice = sorted(set(paths) & {*free, *job.metrics, *OWN})
    if len(set(paths)) < len(paths) or twice:
        names = ", ".join(twice or paths)
        raise InputError(f"sweep over {names}: already a variable or a column.")
    _check_draws(job.study, paths)
    for path in paths:
        metric = path.removeprefix(LIMITS)
        limits = [limit.metric for limit in job.study.limits]
        if path.startswith(LIMITS) and metric not in limits:
            known = ", ".join(limits) or "none"
            raise InputError(f"{path}: the study limits {known}, not {metric}.")


def _check_draws(study: Study, paths: Sequence[str]) -> None:
    """Draws of quality are taken once, so a sweep must not move what they rest on."""
    quantiles = [limit.text for limit in study.limits if limit.quantile is not None]
    moved = [path for path in paths if path.startswith(("model.", QUALITY))]
    if quantiles and moved and (moved[0].startswith(QUALITY) or not _named(study)):
        raise InputError(
            f"sweep over {moved[0]}: {quantiles[0]} is taken over draws of one fixed "
            "reference. Name a reference: in the study, or drop the share of draws."
        )


def _named(study: Study) -> bool:
    return study.resolved.get("reference") is not None


def job_to_dict(job: Job) -> dict[str, Any]:
    """Plain data from which any process builds the same job."""
    return {
        "study": study_to_dict(job.study),
        "metrics": list(job.metrics),
        "shard_size": job.shard_size,
    }


def job_from_dict(data: Mapping[str, Any], *, folder: Path) -> Job:
    """The job of plain data."""
    return Job(
        study=study_from_dict(data["study"], folder=folder),
        metrics=tuple(str(name) for name in data["metrics"]),
        shard_size=int(data["shard_size"]),
    )


def identity(job: Job) -> dict[str, Any]:
    """Everything that the numbers of a job depend on, by name."""
    study = {k: v for k, v in study_to_dict(job.study).items() if k not in SILENT}
    study["sweep"] = {k: v for k, v in study["sweep"].items() if k != "executor"}
    judged = {
        "baseline": flatten(job.study.baseline),
        "reference": flatten(job.study.reference),
        "recipe": asdict(job.study.recipe),
        "reference_recipe": asdict(job.study.reference_recipe),
        "terms": job.study.terms._asdict(),
    }
    work = {"metrics": list(job.metrics), "shard_size": job.shard_size}
    return {**study, **judged, **work, "versions": numeric_versions()}


def fingerprint(known: Mapping[str, Any]) -> str:
    """Digest of an identity; equal for equal questions to equal programs.

    Example:
        >>> fingerprint({"a": 1.0, "b": 2}) == fingerprint({"b": 2, "a": 1.0})
        True
    """
    text = json.dumps(known, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def numeric_versions() -> dict[str, str]:
    """Versions of what computes the numbers; for this package its very code."""
    found = {name: _version(name) for name in PACKAGES}
    devices = str(jax.local_device_count())
    return {
        **found,
        "code": code_digest(),
        "backend": jax.default_backend(),
        "devices": devices,
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def code_digest() -> str:
    """Digest of the formulas: every source file up to the search."""
    root = Path(str(files("codesign")))
    folders = ("core", "technology", "hardware", "model", "serving", "operators")
    folders = (*folders, "cost", "quality", "outcome", "optimize", "study")
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((root / folder).glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    constants = presets_directory() / "quality" / "constants.yaml"
    digest.update(constants.read_bytes())
    return digest.hexdigest()[:16]


def differences(
    given: Mapping[str, Any], kept: Mapping[str, Any], *, prefix: str = ""
) -> list[str]:
    """What two identities disagree on, one text per entry."""
    found: list[str] = []
    for key in sorted({*given, *kept}):
        new, old = given.get(key), kept.get(key)
        path = f"{prefix}{key}"
        if isinstance(new, Mapping) and isinstance(old, Mapping):
            found += differences(new, old, prefix=f"{path}.")
        elif _text(new) != _text(old):
            found.append(f"{path} {_text(old)} -> {_text(new)}")
    return found


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
