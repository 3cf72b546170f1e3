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
from functools import cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from codesign.config.catalogue import find_preset, presets_directory
from codesign.config.chips import chip_info
from codesign.config.design import PLACES, Draft, exact_text, locate
from codesign.config.overrides import (
    BOUND_KEYS,
    nearest_paths,
    override_study,
    unknown_parameter,
)
from codesign.config.units import format_quantity, parse_quantity
from codesign.config.yaml import Problems, read_yaml
from codesign.core.checks import check_x64
from codesign.core.errors import UnitError
from codesign.core.paths import get_path, nearest, path_units
from codesign.core.quantities import Unit
from codesign.cost.limits import Limits
from codesign.cost.record import Cost
from codesign.quality.evaluate import Quality
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
)
REQUEST_KEYS = tuple(n for n, p in PLACES.items() if p.startswith("request."))
BASELINE_KEYS = (
    "chip",
    "model",
    "stack",
    *(name for name in PLACES if name not in REQUEST_KEYS),
    "tune",
    "set",
)
GOVERNED = ("deployment.decode_voltage", "deployment.prefill_voltage")
ABBREVIATIONS = {
    "ttft": "time_to_first_token",
    "tpot": "time_per_output_token",
    "itl": "inter_token_latency",
    "energy": "energy_per_token_server",
    "latency": "request_latency",
    "cost": "usd_per_token",
    "quality": "quality.gap",
}
COUNTABLE = ("1", "bit", "token", "MAC")
EXAMPLE_STUDY = "joint_chat.yaml"

_FACTOR_AND_PATH = re.compile(
    r"(?:(\d+\.?\d*(?:[eE][+-]?\d+)?)\s*\*\s*)?([A-Za-z_][\w.]*)"
)
_LIMIT = re.compile(r"(\S+)\s*(<=|>=)\s*(\S.*)")
_LIMIT_FORMS = (
    "Write metric <= value or metric >= value, where value is a number with unit, "
    "baseline, a path of the design, or a number times one of the last two."
)


@dataclass(frozen=True)
class Variable:
    """A free parameter and its legal values, SI; choices leave low, high as ends.

    ``high_path`` names the parameter that bounds it, times ``high_factor``;
    ``high`` is then the largest value that bound can take. ``multiple`` is 0
    and ``choices`` empty where they do not apply.
    """

    path: str
    unit: str
    low: float
    high: float
    high_path: str | None = None
    high_factor: float = 1.0
    choices: tuple[float, ...] = ()
    multiple: float = 0.0
    integer: bool = False


@dataclass(frozen=True)
class Limit:
    """metric <= or >= value, factor * metric of the baseline, or factor * path."""

    metric: str
    sense: str
    text: str
    value: float | None = None
    factor: float = 1.0
    baseline: bool = False
    path: str | None = None


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
    the content of the file with every default filled in.
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
    study = _Reader(data, problems, file).study()
    problems.raise_if_any()
    return study


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


@cache
def metric_units() -> dict[str, Unit]:
    """Unit of every metric: paths in ``Cost``, and ``quality.`` with its paths."""
    scores = {f"quality.{path}": unit for path, unit in path_units(Quality).items()}
    scalar = {p: unit for p, unit in scores.items() if not p.endswith("_by_law")}
    return {**path_units(Cost), **scalar}


@cache
def always_on() -> tuple[str, ...]:
    """Names of the limits that hold unless ``off`` names them."""
    return tuple(dict.fromkeys([*path_units(Limits), *path_units(Validity)]))


class _Reader:
    """Reads the sections of one file and notes every problem on the way."""

    def __init__(
        self, data: Mapping[str, Any], problems: Problems, /, file: Path
    ) -> None:
        self.data = data
        self.problems = problems
        self.file = file
        self.folder = file.resolve().parent
        self.units = path_units(Design)

    def study(self) -> Any:
        self._known_keys("", self.data, known=STUDY_KEYS)
        needed = ("baseline", "request", "free", "minimize")
        self.problems.missing_keys("", [key for key in needed if key not in self.data])
        variables = self._variables()
        given = self._given(variables)
        baseline = self._baseline(given)
        minimize = self._objective()
        limits = tuple(filter(None, map(self._limit, *self._list("subject_to"))))
        tune, off, search = self._tune(), self._off(), self._search()
        free = tuple(self._resolve(v, variables, baseline) for v in variables.values())
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
            limits=limits,
            off=off,
            search=search,
        )
        return replace(study, resolved=_resolved(study, given, folder=self.folder))
