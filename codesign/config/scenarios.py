"""For which services is one design? Workloads or models under common limits.

Section ``scenarios`` of a study file -> the studies that its cases make of it.
"""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from codesign.config.chances import is_mapping, names_of
from codesign.config.design import locate
from codesign.config.question import SHARED, Cases, Study
from codesign.config.yaml import Problems

SCENARIO_KEYS = ("judge", "shared", "cases")
CASE_KEYS = ("weight", "request", "baseline", "subject_to", "reference")
JUDGES = ("worst", "mean")
SECTIONS = ("scenarios", "robust", "split")
FILES = ("chip", "model", "stack", "draft")

Reader = Callable[[dict[str, Any], Problems], Study | None]


def read_cases(
    data: Mapping[str, Any], problems: Problems, *, file: Path, read: Reader
) -> Cases | None:
    """The cases of a file, each a study of its own; None without the section."""
    section = data.get("scenarios")
    if section is None:
        return None
    if not is_mapping(section, "scenarios", problems=problems, known=SCENARIO_KEYS):
        return None
    entries = section.get("cases")
    if not isinstance(entries, dict) or len(entries) < 2:  # noqa: PLR2004 - "two"
        message = "expected two or more cases by name, each with what differs."
        problems.add("scenarios.cases", message)
        return None
    judge = section.get("judge", JUDGES[0])
    if judge not in JUDGES:
        problems.add("scenarios.judge", f"{judge!r} is not {' or '.join(JUDGES)}.")
    shared = names_of(section.get("shared", list(SHARED)))
    found = {
        str(name): _case(data, str(name), problems=problems, file=file, read=read)
        for name in entries
    }
    if problems.found:
        return None
    studies = tuple(study for study, _ in found.values() if study is not None)
    _check_shapes(tuple(found), studies, problems=problems)
    _check_shared(shared, studies[0], problems=problems)
    return Cases(
        names=tuple(found),
        studies=studies,
        weights=tuple(weight for _, weight in found.values()),
        judge=judge,
        shared=shared,
    )


def _case(
    data: Mapping[str, Any],
    name: str,
    *,
    problems: Problems,
    file: Path,
    read: Reader,
) -> tuple[Study | None, float]:
    """The study of one case, and its weight."""
    place = f"scenarios.cases.{name}"
    entry = data["scenarios"]["cases"][name] or {}
    if not is_mapping(entry, place, problems=problems, known=CASE_KEYS):
        return None, 0.0
    weight = _number(entry, "weight", place=place, problems=problems, default=1.0)
    own = {k: copy.deepcopy(v) for k, v in data.items() if k not in SECTIONS}
    own["name"] = f"{data.get('name', file.stem)}-{name}"
    for key in ("request", "baseline"):
        changes = entry.get(key) or {}
        if is_mapping(changes, f"{place}.{key}", problems=problems):
            own[key] = {**(own.get(key) or {}), **changes}
    own |= {k: entry[k] for k in ("subject_to", "reference") if k in entry}
    below = f"{place}."
    lines = {p.removeprefix(below): n for p, n in problems.lines.items() if below in p}
    inner = Problems(file=problems.file, lines={**problems.lines, **lines})
    study = read(own, inner)
    problems.found += [f"{problem} (scenario {name})" for problem in inner.found]
    return study, weight


def _check_shapes(
    names: tuple[str, ...], studies: tuple[Study, ...], *, problems: Problems
) -> None:
    """All cases ask the same question in other numbers, so that one trace serves."""

    def shape(study: Study) -> Any:
        limits = [(x.metric, x.sense, x.quantile, x.path) for x in study.limits]
        return limits, study.terms, study.baseline.draft is None, study.recipe

    for name, study in zip(names[1:], studies[1:], strict=True):
        if shape(study) != shape(studies[0]):
            problems.add(
                f"scenarios.cases.{name}",
                f"limits the same metrics as {names[0]} in the same order, and has a "
                "draft model if that has one; only values may differ.",
            )


def _check_shared(shared: tuple[str, ...], study: Study, *, problems: Problems) -> None:
    for name in shared:
        if not any(v.path == name or v.path.startswith(f"{name}.") for v in study.free):
            groups = {v.path.partition(".")[0] for v in study.free}
            message = f'no free variable is in "{name}". Free: {", ".join(groups)}.'
            if name not in SHARED:
                problems.add("scenarios.shared", message)


def located(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The three sections as the file has them, paths of files made whole."""
    found = {key: copy.deepcopy(data[key]) for key in SECTIONS if key in data}
    for entry in (found.get("scenarios") or {}).get("cases", {}).values():
        baseline = (entry or {}).get("baseline") or {}
        for key in [key for key in FILES if isinstance(baseline.get(key), str)]:
            baseline[key] = str(locate(baseline[key], folder))
    return found


def _number(
    entry: Mapping[str, Any],
    key: str,
    *,
    place: str,
    problems: Problems,
    default: float,
) -> float:
    value = entry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        problems.add(f"{place}.{key}", f"expected a positive number, found {value!r}.")
        return default
    return float(value)
