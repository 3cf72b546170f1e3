"""How are the sections of a study file read?

Data of the file -> ``Study``, with every problem noted at its path.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codesign.config.chances import read_chances, read_handoff
from codesign.config.couplings import NAMES, check_couplings
from codesign.config.design import PLACES, Draft, locate
from codesign.config.die import check_reticle
from codesign.config.limits import read_limit, read_objective
from codesign.config.overrides import nearest_paths
from codesign.config.question import OBJECTIVE, Search, Study
from codesign.config.resolved import REQUEST_KEYS, resolved_content
from codesign.config.scenarios import SECTIONS, located, read_cases
from codesign.config.sweep import Plan, read_plan
from codesign.config.terms import check_paid, read_terms
from codesign.config.variables import read_variables
from codesign.config.yaml import Problems
from codesign.core.paths import nearest, path_units
from codesign.cost.limits import Limits
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
    *SECTIONS,
)
BASELINE_KEYS = (
    "chip",
    "model",
    "stack",
    "draft",
    *(name for name in PLACES if name not in REQUEST_KEYS),
    "tune",
    "set",
)
SEARCH_KEYS = ("starts", "seed")
_NO_ARGUMENT = ("tune", "set")


def groups() -> list[str]:
    """Dotted names of all records inside a ``Design``."""
    parts = [path.split(".")[:-1] for path in path_units(Design)]
    names = [".".join(p[: i + 1]) for p in parts for i in range(len(p))]
    return list(dict.fromkeys(names))


class StudyReader:
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
        if baseline is not None and not self.problems.found:
            for check in (check_couplings, check_reticle):
                check(free, baseline=baseline, off=off, problems=self.problems)
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
        written = {**resolved_content(study, given), **judged}
        return self._with_scenarios(replace(study, resolved=written))

    def _with_scenarios(self, study: Study) -> Study | None:
        """The study with its sections of scenarios, if it has any."""
        folder = self.file.resolve().parent
        found = replace(
            study,
            resolved={**study.resolved, **located(self.data, folder)},
            cases=read_cases(
                self.data,
                self.problems,
                file=self.file,
                read=lambda data, inner: StudyReader(
                    data, inner, file=self.file
                ).study(),
            ),
            chances=read_chances(self.data, self.problems),
            handoff=read_handoff(self.data, self.problems),
        )
        return None if self.problems.found else found

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
        known = groups()
        prefixes: list[str] = []
        for name in self._list(
            {"tune": "deployment", **self._section("baseline")}, "tune"
        ):
            if name in known:
                prefixes.append(f"{name}.")
            elif name in path_units(Design):
                prefixes.append(name)
            else:
                close = nearest_paths(name, [*known, *path_units(Design)])
                hint = ", ".join(close or known)
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
            elif name in (*physical, *ranges, *NAMES):
                names.append(name)
            else:
                close = nearest(name, [*physical, *ranges, *NAMES, "validity"])
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
