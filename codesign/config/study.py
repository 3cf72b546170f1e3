"""What does a study ask? Baseline, free variables, objective and limits.

A YAML file -> ``Study``, with the line of every problem, and back to a text in
which each default is written out.
"""

import copy
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from codesign.config.catalogue import find_preset, presets_directory
from codesign.config.chips import chip_info
from codesign.config.design import PLACES, Draft, exact_text, locate
from codesign.config.limits import Limit, read_limit, read_objective
from codesign.config.overrides import (
    BOUND_KEYS,
    Variable,
    nearest_paths,
    read_variables,
    split_assignment,
)
from codesign.config.recipe import (
    Recipe,
    read_recipe,
    read_reference,
    reference_recipe,
)
from codesign.config.sweep import Axis, Plan, read_plan
from codesign.config.terms import VOCABULARY, check_paid, read_terms
from codesign.config.units import format_quantity
from codesign.config.yaml import Problems, read_yaml
from codesign.core.checks import check_x64
from codesign.core.errors import InputError
from codesign.core.paths import get_path, nearest, path_units
from codesign.core.quantities import Unit
from codesign.cost.limits import Limits
from codesign.model.transformer import Transformer
from codesign.outcome.terms import Terms
from codesign.quality.validity import Validity
from codesign.serving.design import Design

STUDY_KEYS = (
    "name",
    "title",
    "note",
    "baseline",
    "request",
    "free",
    "minimize",
    "subject_to",
    "off",
    "search",
    "recipe",
    "reference",
    "sweep",
    "budget",
    "answers",
)
REQUEST_KEYS = tuple(n for n, p in PLACES.items() if p.startswith("request."))
BASELINE_KEYS = (
    "chip",
    "model",
    "stack",
    "draft",
    *(name for name in PLACES if name not in REQUEST_KEYS),
    "tune",
    "set",
)
DRAFTING = ("draft_tokens", "acceptance")
SEARCH_KEYS = ("starts", "seed")
OBJECTIVE = "energy_per_token_server"
_NO_ARGUMENT = ("tune", "set")
EXAMPLE_STUDY = "joint_chat.yaml"


@dataclass(frozen=True)
class Search:
    """How many starts, and the seed of every draw."""

    starts: int = 256
    seed: int = 0


@dataclass(frozen=True)
class Study:
    """A question to the search, read from a file.

    ``tune`` holds path prefixes of the variables that the baseline may tune,
    ``off`` the names of always-on limits that are switched off, ``resolved``
    the content of the file with every default filled in but for recipe,
    reference and budget, which stand there only where the file names them. A
    study that only sweeps may have no ``free`` variables; ``sweep`` holds its
    points. ``compared`` is the reference of quality where no file names it.
    """

    name: str
    path: Path
    baseline: Design
    baseline_text: dict[str, Any]
    tune: tuple[str, ...]
    free: tuple[Variable, ...]
    minimize: str
    limits: tuple[Limit, ...]
    off: tuple[str, ...] = ()
    search: Search = Search()
    resolved: dict[str, Any] = field(default_factory=dict[str, Any])
    sweep: Plan | None = None
    compared: Transformer | None = None

    @property
    def recipe(self) -> Recipe:
        """How the models of the study get their formats."""
        return read_recipe(self.resolved.get("recipe"), Problems())

    @property
    def reference_recipe(self) -> Recipe:
        """How the reference got its formats, the study's recipe unless named."""
        return reference_recipe(self.resolved.get("reference"), self.recipe)

    @property
    def terms(self) -> Terms:
        """What stays equal while designs change."""
        return Terms(
            compute=self.resolved.get("budget") == "compute",
            text=VOCABULARY in self._moving(),
            answers=self.resolved.get("answers") == "equal",
        )

    def _moving(self) -> set[str]:
        """Paths of what is free or swept."""
        axes = self.sweep.axes if self.sweep else ()
        return {variable.path for variable in (*self.free, *axes)}

    @property
    def reference(self) -> Transformer:
        """The model that quality is relative to, the baseline's unless named."""
        if self.compared is not None:
            return self.compared
        found = read_reference(self.resolved.get("reference"), Problems())
        return self.baseline.model if found is None else found


def load_study(path: str | Path, *, overrides: Sequence[str] = ()) -> Study:
    """The study of a YAML file or of a shipped preset.

    ``overrides`` are ``path=value`` texts: entries of the file, such as
    ``search.seed=1``, or parameters of the baseline, such as ``chip.tdp=500 W``.

    Raises:
        InputError: with file, line and path of every problem.
        Float64DisabledError: 64-bit floats are off.

    Example:
        >>> import codesign.core.checks
        >>> codesign.core.checks.enable_x64()
        >>> study = load_study("joint_chat")
        >>> study.minimize, study.limits[0].value
        ('energy_per_token_server', 0.03)
    """
    check_x64()
    file = find_preset("studies", path)
    document = read_yaml(file)
    data = override_study(document.data, overrides, sections=STUDY_KEYS)
    problems = Problems(file=document.file, lines=document.lines)
    study = _Reader(data, problems, file=file).study()
    problems.found.sort(key=_line)
    problems.raise_if_any()
    if study is None:
        raise InputError(problems.text())
    return study


def _groups() -> list[str]:
    """Dotted names of all records inside a ``Design``."""
    parts = [path.split(".")[:-1] for path in path_units(Design)]
    names = [".".join(p[: i + 1]) for p in parts for i in range(len(p))]
    return list(dict.fromkeys(names))


def _line(problem: str) -> int:
    """Line that a problem names; 0 where it names none."""
    found = re.match(r"[^:]*:(\d+) ", problem)
    return int(found[1]) if found else 0


def init_study_text() -> str:
    """Text of a commented study to start from: the shipped example."""
    file = presets_directory() / "studies" / EXAMPLE_STUDY
    return file.read_text(encoding="utf-8")


def resolved_study(study: Study) -> str:
    """YAML text of a study with every default filled in; loads as the same study."""
    content = copy.deepcopy(study.resolved)
    free = CommentedMap()
    for variable in study.free:
        entry = CommentedMap(content["free"][variable.path])
        entry.fa.set_flow_style()
        free[variable.path] = entry
        value = float(get_path(study.baseline, variable.path))
        inside = variable.low <= value <= variable.high
        note = f"baseline {format_quantity(value, Unit(variable.unit))}"
        free.yaml_add_eol_comment(note + ("" if inside else ", outside"), variable.path)
    content["free"] = free
    yaml = YAML()
    yaml.width = 10_000
    stream = io.StringIO()
    yaml.dump(content, stream)
    return stream.getvalue()


def override_study(
    data: Mapping[str, Any], assignments: Sequence[str], *, sections: Sequence[str]
) -> dict[str, Any]:
    """Data of a study file with assignments in place.

    A path that starts with a section of the file changes that entry
    (``search.seed=1``, ``free.chip.tdp.max=900 W``); any other is a parameter
    of the baseline (``chip.tdp=500 W``).
    """
    changed: dict[str, Any] = copy.deepcopy(dict(data))
    for assignment in assignments:
        path, text = split_assignment(assignment)
        section, _, rest = path.partition(".")
        if section not in sections:
            keys, value = ["baseline", "set", path], text
        else:
            keys, value = [section, *_split_below(section, rest)], _typed(text)
        _insert(changed, keys, value=value)
    return changed


def _split_below(section: str, rest: str) -> list[str]:
    parameter, _, key = rest.rpartition(".")
    if section == "free" and key in BOUND_KEYS and parameter:
        return [parameter, key]
    return [rest] if rest else []


def _insert(data: dict[str, Any], keys: Sequence[str], *, value: Any) -> None:
    for key in keys[:-1]:
        below = data.setdefault(key, {})
        if not isinstance(below, dict):
            raise InputError(f"{'.'.join(keys)}: {key} is not a mapping.")
        data = below
    data[keys[-1]] = value


def _typed(text: str) -> Any:
    """Number, truth value, list or text, as YAML reads it."""
    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise InputError(f'"{text}" cannot be read as a YAML value.') from error


class _Reader:
    """Reads the sections of one file and notes every problem on the way."""

    def __init__(self, data: dict[str, Any], problems: Problems, *, file: Path) -> None:
        self.data = data
        self.problems = problems
        self.file = file

    def study(self) -> Study | None:
        """The study, or None with problems noted."""
        self._check_keys("", self.data, known=STUDY_KEYS)
        plan = self._plan()
        searched = plan is None or plan.search
        needed = ("baseline", "request", *(("free", "minimize") if searched else ()))
        self.problems.missing_keys("", [key for key in needed if key not in self.data])
        given = self._given()
        baseline = self._baseline(given) if given else None
        free = read_variables(
            self._section("free"), baseline=baseline, problems=self.problems
        )
        if searched and "free" in self.data and not self.data["free"]:
            self.problems.add("free", "no variable is free; name at least one.")
        limits = [
            read_limit(
                " ".join(str(text).split()),
                place=f"subject_to.{index}",
                problems=self.problems,
            )
            for index, text in enumerate(self._list(self.data, "subject_to"))
        ]
        objective = str(self.data.get("minimize", "" if searched else OBJECTIVE))
        minimize = read_objective(objective, problems=self.problems)
        tune, off, search = self._tune(), self._off(), self._search()
        judged = read_terms(self.data, self.problems, folder=self.file.resolve().parent)
        check_paid(
            self.data,
            self.problems,
            minimize=minimize,
            limits=["" if limit is None else limit.metric for limit in limits],
            baseline=baseline,
        )
        if self.problems.found or baseline is None:
            return None
        study = Study(
            name=str(self.data.get("name", self.file.stem)),
            path=self.file,
            baseline=baseline,
            baseline_text=copy.deepcopy(self._section("baseline")),
            tune=tune,
            free=free,
            minimize=minimize,
            limits=tuple(limit for limit in limits if limit is not None),
            off=off,
            search=search,
            sweep=plan,
        )
        return replace(study, resolved={**_resolved(study, given), **judged})

    def _plan(self) -> Plan | None:
        if "sweep" not in self.data:
            return None
        return read_plan(self._section("sweep"), problems=self.problems)

    def _section(self, name: str) -> dict[str, Any]:
        content = self.data.get(name) or {}
        if isinstance(content, dict):
            return content
        message = f"expected a mapping of keys to values, found {content!r}."
        if not any(message in found for found in self.problems.found):
            self.problems.add(name, message)
        return {}

    def _list(self, section: Mapping[str, Any], key: str) -> list[Any]:
        content = section.get(key)
        if content is None:
            return []
        return content if isinstance(content, list) else [content]

    def _check_keys(
        self,
        place: str,
        content: Mapping[str, Any],
        *,
        known: Sequence[str],
        other: str = "",
    ) -> None:
        elsewhere = {"request": REQUEST_KEYS, "baseline": BASELINE_KEYS}.get(other, ())
        for key in [key for key in content if key not in known]:
            where = f"{place}.{key}" if place else key
            if key in elsewhere:
                self.problems.add(where, f"belongs under {other}.")
            else:
                self.problems.unknown_key(where, list(known))

    def _given(self) -> dict[str, Any]:
        """Arguments of the baseline; a free batch that is left out gets a start."""
        baseline, request = self._section("baseline"), self._section("request")
        self._check_keys("baseline", baseline, known=BASELINE_KEYS, other="request")
        self._check_keys("request", request, known=REQUEST_KEYS, other="baseline")
        given = {key: v for key, v in baseline.items() if key in BASELINE_KEYS}
        given |= {key: v for key, v in request.items() if key in REQUEST_KEYS}
        changes = given.get("set")
        known = {*given, *(changes if isinstance(changes, dict) else ())}
        if not known & {"batch", "rate", PLACES["batch"], PLACES["rate"]}:
            given |= self._middle_batch()
        folder = self.file.resolve().parent
        for name in ("chip", "model", "stack", "draft"):
            if isinstance(given.get(name), str):
                given[name] = str(locate(given[name], folder))
        return given

    def _middle_batch(self) -> dict[str, Any]:
        """The legal batch nearest to the geometric middle of its bounds, if free."""
        path = PLACES["batch"]
        entry = self._section("free").get(path)
        if entry is None:
            return {}
        found = read_variables({path: entry}, baseline=None, problems=Problems())
        if not found:
            return {}
        batch = found[0]
        middle = math.sqrt(batch.low * batch.high)
        step = batch.multiple or 1.0
        legal = batch.choices or (max(step, step * round(middle / step)),)
        return {"batch": min(legal, key=lambda value: abs(math.log(value / middle)))}

    def _baseline(self, given: Mapping[str, Any]) -> Design | None:
        changes = given.get("set") or {}
        if not isinstance(changes, dict):
            example = "expected parameters, such as {chip.tdp: 500 W}"
            self.problems.add("baseline.set", f"{example}; found {changes!r}.")
            return None
        places = {name: f"request.{name}" for name in REQUEST_KEYS}
        design = Draft(
            {name: value for name, value in given.items() if name not in _NO_ARGUMENT},
            problems=self.problems,
            overrides=changes,
            places={name: f"baseline.{name}" for name in BASELINE_KEYS} | places,
            override_place="baseline.set.",
        ).design()
        if design is not None and not float(design.model.training_tokens) > 0:
            self.problems.add(
                "baseline.model",
                "its training tokens are unknown, which quality depends on. Add "
                "set: {model.training_tokens: 15e12 token} with the right number.",
            )
        return design

    def _tune(self) -> tuple[str, ...]:
        groups = _groups()
        prefixes: list[str] = []
        for name in self._list(
            {"tune": "deployment", **self._section("baseline")}, "tune"
        ):
            if name in groups:
                prefixes.append(f"{name}.")
            elif name in path_units(Design):
                prefixes.append(name)
            else:
                close = nearest_paths(name, [*groups, *path_units(Design)])
                hint = ", ".join(close or groups)
                message = f'"{name}" is no group of parameters. Close: {hint}.'
                self.problems.add("baseline.tune", message)
        return tuple(prefixes)

    def _off(self) -> tuple[str, ...]:
        names: list[str] = []
        physical, ranges = path_units(Limits), path_units(Validity)
        for given in self._list(self.data, "off"):
            name = str(given).rpartition(".")[2]
            if name == "validity":
                names += [part for part in ranges if part not in physical]
            elif name in (*physical, *ranges):
                names.append(name)
            else:
                close = nearest(name, [*physical, *ranges, "validity"])
                allowed = close or [*physical, "validity"]
                message = f'no limit is called "{given}". Close: {", ".join(allowed)}.'
                self.problems.add("off", message)
        return tuple(dict.fromkeys(names))

    def _search(self) -> Search:
        section = self._section("search")
        self._check_keys("search", section, known=SEARCH_KEYS)
        found: dict[str, int] = {}
        for key, lowest in (("starts", 1), ("seed", 0)):
            value = section.get(key, getattr(Search, key))
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                message = f"expected a whole number from {lowest} up, found {value!r}."
                self.problems.add(f"search.{key}", message)
            else:
                found[key] = value
        return Search(**found)


def _resolved(study: Study, given: Mapping[str, Any]) -> dict[str, Any]:
    design, open_loop = study.baseline, float(study.baseline.request.rate) > 0
    units = path_units(Design)
    numbers = {
        name: exact_text(float(get_path(design, path)), units[path])
        for name, path in PLACES.items()
        if name != ("batch" if open_loop else "rate")
        and (design.draft is not None or name not in DRAFTING)
    }
    baseline = {name: given[name] for name in ("chip", "model")}
    baseline["stack"] = given.get("stack") or chip_info(given["chip"]).stack
    baseline |= {"draft": given["draft"]} if "draft" in given else {}
    baseline |= {k: v for k, v in numbers.items() if k not in REQUEST_KEYS}
    baseline["tune"] = [prefix.removesuffix(".") for prefix in study.tune]
    changes = given.get("set") or {}
    kept = {k: v for k, v in changes.items() if k not in PLACES.values()}
    if kept:
        baseline["set"] = kept
    content = {
        "name": study.name,
        "baseline": baseline,
        "request": {k: v for k, v in numbers.items() if k in REQUEST_KEYS},
        "free": {variable.path: bounds_text(variable) for variable in study.free},
        "minimize": study.minimize,
        "subject_to": [limit.text for limit in study.limits],
        "off": list(study.off),
        "search": {"starts": study.search.starts, "seed": study.search.seed},
    }
    return content if study.sweep is None else {**content, "sweep": _sweep(study.sweep)}


def _sweep(plan: Plan) -> dict[str, Any]:
    drawn = {"points": plan.points} if not plan.axes[0].values else {}
    return {
        "method": plan.method,
        "over": {axis.path: _axis(axis) for axis in plan.axes},
        **drawn,
        "seed": plan.seed,
        "search": plan.search,
    }


def _axis(axis: Axis) -> Any:
    unit = Unit(axis.unit)
    if axis.values:
        return [exact_text(value, unit) for value in axis.values]
    ends = {"min": exact_text(axis.low, unit), "max": exact_text(axis.high, unit)}
    return {**ends, "log": True} if axis.scale == "log" else ends


def bounds_text(variable: Variable) -> dict[str, Any]:
    """The entry of a variable in the ``free`` section of a study."""
    unit = Unit(variable.unit)
    if variable.choices:
        return {"choices": [exact_text(value, unit) for value in variable.choices]}
    high = exact_text(variable.high, unit)
    if variable.high_path:
        factor = variable.high_factor
        high = f"{factor!r} * " * (factor != 1.0) + variable.high_path
    entry = {"min": exact_text(variable.low, unit), "max": high}
    if variable.multiple:
        entry["multiple_of"] = exact_text(variable.multiple, unit)
    return {**entry, "integer": True} if variable.integer else entry
