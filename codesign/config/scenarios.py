"""For what is a chip designed: one workload, many, two pools, or uncertain constants?

Sections ``scenarios``, ``split`` and ``robust`` of a study file -> the studies that
they make of it, and how their answers count together.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign.config.design import locate
from codesign.config.units import parse_quantity
from codesign.config.yaml import Problems
from codesign.core.errors import UnitError
from codesign.core.quantities import Unit

if TYPE_CHECKING:
    from codesign.config.question import Study

SCENARIO_KEYS = ("judge", "shared", "cases")
CASE_KEYS = ("weight", "request", "baseline", "subject_to", "reference")
ROBUST_KEYS = ("over", "draws", "limits", "objective", "seed")
HANDOFF_UNITS = {
    "bandwidth": Unit("B/s"),
    "latency": Unit("s"),
    "energy": Unit("J/B"),
}
SPLIT_KEYS = tuple(HANDOFF_UNITS)
JUDGES = ("worst", "mean")
GROUPS = ("technology", "chip", "stack", "quality")
SECTIONS = ("scenarios", "robust", "split")
SHARED = ("chip", "system")
FILES = ("chip", "model", "stack", "draft")
FEWEST_DRAWS = 4
MEAN = "mean"


@dataclass(frozen=True)
class Cases:
    """Workloads or models that one design serves.

    ``shared`` names the groups of variables that are one for all cases. ``judge``
    says what is minimised: the ``mean`` of the objective under the weights, or the
    ``worst`` ratio to the specialist of a case.
    """

    names: tuple[str, ...]
    studies: tuple["Study", ...]
    weights: tuple[float, ...]
    judge: str = "worst"
    shared: tuple[str, ...] = SHARED


@dataclass(frozen=True)
class Chances:
    """Draws of uncertain constants that a design has to live with.

    Every limit holds in the share ``limits`` of the draws; the objective is its
    mean over them, or its quantile ``objective``.
    """

    over: tuple[str, ...] = ("technology", "stack")
    draws: int = 16
    limits: float = 0.9
    objective: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Handoff:
    """The link over which a prefill chip hands keys and values to a decode chip.

    Bytes per second of one chip, seconds per request, joules per byte.
    """

    bandwidth: float
    latency: float
    energy: float


Reader = Callable[[dict[str, Any], Problems], "Study | None"]


def read_cases(
    data: Mapping[str, Any], problems: Problems, *, file: Path, read: Reader
) -> Cases | None:
    """The cases of a file, each a study of its own; None without the section."""
    section = data.get("scenarios")
    if section is None:
        return None
    if not _mapping(section, "scenarios", problems=problems, known=SCENARIO_KEYS):
        return None
    entries = section.get("cases")
    if not isinstance(entries, dict) or len(entries) < 2:  # noqa: PLR2004 - "two"
        message = "expected two or more cases by name, each with what differs."
        problems.add("scenarios.cases", message)
        return None
    judge = section.get("judge", JUDGES[0])
    if judge not in JUDGES:
        problems.add("scenarios.judge", f"{judge!r} is not {' or '.join(JUDGES)}.")
    shared = _names(section.get("shared", list(SHARED)))
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
) -> tuple["Study | None", float]:
    """The study of one case, and its weight."""
    place = f"scenarios.cases.{name}"
    entry = data["scenarios"]["cases"][name] or {}
    if not _mapping(entry, place, problems=problems, known=CASE_KEYS):
        return None, 0.0
    weight = _number(entry, "weight", place=place, problems=problems, default=1.0)
    own = {k: copy.deepcopy(v) for k, v in data.items() if k not in SECTIONS}
    own["name"] = f"{data.get('name', file.stem)}-{name}"
    for key in ("request", "baseline"):
        changes = entry.get(key) or {}
        if _mapping(changes, f"{place}.{key}", problems=problems):
            own[key] = {**(own.get(key) or {}), **changes}
    own |= {k: entry[k] for k in ("subject_to", "reference") if k in entry}
    below = f"{place}."
    lines = {p.removeprefix(below): n for p, n in problems.lines.items() if below in p}
    inner = Problems(file=problems.file, lines={**problems.lines, **lines})
    study = read(own, inner)
    problems.found += [f"{problem} (scenario {name})" for problem in inner.found]
    return study, weight


def _check_shapes(
    names: tuple[str, ...], studies: tuple["Study", ...], *, problems: Problems
) -> None:
    """All cases ask the same question in other numbers, so that one trace serves."""

    def shape(study: "Study") -> Any:
        limits = [(x.metric, x.sense, x.quantile, x.path) for x in study.limits]
        return limits, study.terms, study.baseline.draft is None, study.recipe

    for name, study in zip(names[1:], studies[1:], strict=True):
        if shape(study) != shape(studies[0]):
            problems.add(
                f"scenarios.cases.{name}",
                f"limits the same metrics as {names[0]} in the same order, and has a "
                "draft model if that has one; only values may differ.",
            )


def _check_shared(
    shared: tuple[str, ...], study: "Study", *, problems: Problems
) -> None:
    for name in shared:
        if not any(v.path == name or v.path.startswith(f"{name}.") for v in study.free):
            groups = {v.path.partition(".")[0] for v in study.free}
            message = f'no free variable is in "{name}". Free: {", ".join(groups)}.'
            if name not in SHARED:
                problems.add("scenarios.shared", message)


def read_chances(data: Mapping[str, Any], problems: Problems) -> Chances | None:
    """Draws that a study's design has to live with; None without the section."""
    section = data.get("robust")
    if section is None:
        return None
    if not _mapping(section, "robust", problems=problems, known=ROBUST_KEYS):
        return None
    over = _names(section.get("over", list(Chances.over)))
    for name in over:
        if name not in GROUPS:
            allowed = ", ".join(GROUPS)
            problems.add("robust.over", f"{name!r} is none of {allowed}.")
    draws = section.get("draws", Chances.draws)
    if not isinstance(draws, int) or draws < FEWEST_DRAWS or draws & (draws - 1):
        message = f"expected 4, 8, 16, 32 ... draws, found {draws!r}."
        problems.add("robust.draws", message)
    seed = section.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        problems.add("robust.seed", f"expected a whole number, found {seed!r}.")
    level = section.get("objective", MEAN)
    return Chances(
        over=over,
        draws=draws,
        limits=_share(
            section.get("limits", Chances.limits), "limits", problems=problems
        ),
        objective=None
        if level == MEAN
        else _share(level, "objective", problems=problems),
        seed=seed,
    )


def read_handoff(data: Mapping[str, Any], problems: Problems) -> Handoff | None:
    """The link between a prefill and a decode pool; None without the section."""
    section = data.get("split")
    if section is None:
        return None
    if not _mapping(section, "split", problems=problems, known=SPLIT_KEYS):
        return None
    problems.missing_keys("split", [key for key in SPLIT_KEYS if key not in section])
    found: dict[str, float] = {}
    for key in [key for key in SPLIT_KEYS if key in section]:
        try:
            found[key] = parse_quantity(section[key], HANDOFF_UNITS[key], name=key)
        except UnitError as error:
            problems.add(f"split.{key}", str(error))
    if len(found) < len(SPLIT_KEYS):
        return None
    if found["bandwidth"] <= 0 or min(found.values()) < 0:
        problems.add("split", "bandwidth is positive, latency and energy are not < 0.")
    return Handoff(**found)


def located(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The three sections as the file has them, paths of files made whole."""
    found = {key: copy.deepcopy(data[key]) for key in SECTIONS if key in data}
    for entry in (found.get("scenarios") or {}).get("cases", {}).values():
        baseline = (entry or {}).get("baseline") or {}
        for key in [key for key in FILES if isinstance(baseline.get(key), str)]:
            baseline[key] = str(locate(baseline[key], folder))
    return found


def _mapping(
    content: Any,
    place: str,
    *,
    problems: Problems,
    known: tuple[str, ...] | None = None,
) -> bool:
    if not isinstance(content, dict):
        message = f"expected a mapping of keys to values, found {content!r}."
        problems.add(place, message)
        return False
    for key in content:
        if known is not None and key not in known:
            problems.unknown_key(f"{place}.{key}", list(known))
    return True


def _names(content: Any) -> tuple[str, ...]:
    return tuple(map(str, content if isinstance(content, list) else [content]))


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


def _share(value: Any, key: str, *, problems: Problems) -> float:
    if not isinstance(value, int | float) or not 0.0 < value < 1.0:
        message = f"expected a share of draws between 0 and 1, found {value!r}."
        problems.add(f"robust.{key}", message)
        return 0.5
    return float(value)
