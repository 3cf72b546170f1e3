"""Which constants does the quality law run with?

``configs/quality/constants.yaml`` -> ``QualityConstants`` with one entry per
base law, surcharge scales derived from the laws themselves.
"""

import math
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax import Array

from codesign.config.catalogue import presets_directory
from codesign.config.recipe import ROUNDED, Recipe, apply_recipe, read_methods
from codesign.config.records import ValueInfo, build_record, read_values
from codesign.config.yaml import Problems, problems_of, read_yaml
from codesign.core.checks import check_x64
from codesign.core.compiler import jitted
from codesign.core.errors import InputError
from codesign.core.paths import path_units
from codesign.core.record import Record
from codesign.quality.constants import (
    Anchor,
    AttentionConstants,
    Curve,
    ExpertConstants,
    Head,
    Laws,
    LawSpread,
    Limits,
    PrecisionConstants,
    QualityConstants,
    Repetition,
    ShapeConstants,
    SparsityConstants,
    SpeculationConstants,
    TextConstants,
    ThinkingConstants,
    TrainedConstants,
    VocabularyConstants,
)
from codesign.quality.ensemble import Draws, Spread, build_draws
from codesign.quality.laws import dense_gap

_R = TypeVar("_R", bound=Record)

SHARED_KEYS = ("source", "status", "year", "confidence", "note")
SECTIONS: dict[str, type[Record]] = {
    "repetition": Repetition,
    "experts": ExpertConstants,
    "shape": ShapeConstants,
    "attention": AttentionConstants,
    "vocabulary": VocabularyConstants,
    "precision": PrecisionConstants,
    "limits": Limits,
    "text": TextConstants,
    "trained": TrainedConstants,
    "sparsity": SparsityConstants,
    "thinking": ThinkingConstants,
    "speculation": SpeculationConstants,
}
PREFIX = "quality."  # of the constants of the law among those of a study
NORMAL, LOGNORMAL = "normal", "lognormal"
SPREAD_FORM = "a spread needs low < high, and note: normal or lognormal."
KEYS = ("laws", "law_spread", "surcharge_anchor", "mmlu", "methods", *SECTIONS)


def load_quality_constants(
    path: Path | None = None, *, recipe: Recipe = ROUNDED
) -> QualityConstants:
    """Constants of the quality law, the shipped ones or those of a file.

    The recipe says how models got their formats; it holds for model and
    reference alike.

    Weights of the laws are divided by their sum. The first law of the file is
    the one in whose nats surcharges are calibrated.

    Raises:
        InputError: with file and line of every unknown, missing or bad entry.

    Example:
        >>> import codesign.core.checks
        >>> codesign.core.checks.enable_x64()
        >>> load_quality_constants().laws.size_exponent.shape
        (4,)
    """
    data, problems = _read_file(path)
    constants = _read_constants(data, problems)
    return apply_recipe(constants, recipe, methods=read_methods(data, problems))


def _read_constants(data: dict[str, Any], problems: Problems) -> QualityConstants:
    """Constants with every section, whatever the recipe."""
    sections: dict[str, Any] = {
        name: _section(kind, data[name], name=name, problems=problems)
        for name, kind in SECTIONS.items()
    }
    anchor = _read_anchor(data, problems)
    laws = _scale_laws(_read_laws(data["laws"], problems), anchor)
    mmlu = _read_head(data["mmlu"], laws, names=list(data["laws"]), problems=problems)
    problems.raise_if_any()
    return QualityConstants(laws=laws, mmlu=mmlu, **sections)


def load_quality_draws(
    path: Path | None = None, *, count: int, recipe: Recipe = ROUNDED
) -> Draws:
    """Draws of the constants of a file, a power of two of them, always the same.

    Raises:
        InputError: with file and line of every unknown, missing or bad entry.

    Example:
        >>> import codesign.core.checks
        >>> codesign.core.checks.enable_x64()
        >>> load_quality_draws(count=256).constants.precision.text_factor.shape
        (256,)
    """
    data, problems = _read_file(path)
    constants = _read_constants(data, problems)
    draws = build_draws(constants, load_quality_spread(path), count=count)
    methods = read_methods(data, problems)
    chosen = apply_recipe(draws.constants, recipe, methods=methods)
    return draws.replace(constants=chosen)


def load_quality_spread(path: Path | None = None) -> Spread:
    """How uncertain each constant is, by the ``low`` and ``high`` of its entry.

    Raises:
        InputError: with file and line of every unknown, missing or bad entry.
    """
    data, problems = _read_file(path)
    paths: list[str] = []
    deviations: list[float] = []
    lognormal: list[bool] = []
    for section, kind in SECTIONS.items():
        infos = read_values(kind, data[section], problems=problems, prefix=section)
        for name, info in infos.items():
            if info.low is None and info.high is None:
                continue
            found = _deviation(info)
            if found is None:
                problems.add(f"{section}.{name}", SPREAD_FORM)
                continue
            paths.append(f"{section}.{name}")
            deviations.append(found)
            lognormal.append(info.note == LOGNORMAL)
    law = _section(LawSpread, data["law_spread"], name="law_spread", problems=problems)
    anchor = _read_anchor(data, problems)
    problems.raise_if_any()
    return Spread(
        paths=tuple(paths),
        deviations=tuple(deviations),
        lognormal=tuple(lognormal),
        law=law,
        anchor=anchor,
    )


def _deviation(info: ValueInfo) -> float | None:
    """One standard deviation of a value or of its logarithm; None if unclear."""
    if info.low is None or info.high is None or not info.low < info.high:
        return None
    if info.note == NORMAL:
        return (info.high - info.low) / 2.0
    if info.note == LOGNORMAL and info.low > 0:
        return math.log(info.high / info.low) / 2.0
    return None


def _read_file(path: Path | None) -> tuple[dict[str, Any], Problems]:
    """Content of the file with sources inherited, its sections checked."""
    check_x64()
    document = read_yaml(path or presets_directory() / "quality" / "constants.yaml")
    problems = problems_of(document)
    data = inherit_sources(document.data)
    for key in data:
        if key not in KEYS:
            problems.unknown_key(key, list(KEYS))
    problems.missing_keys("", [key for key in KEYS if key not in data])
    problems.raise_if_any()
    return data, problems


def _read_anchor(data: dict[str, Any], problems: Problems) -> Anchor:
    given = data["surcharge_anchor"]
    return _section(Anchor, given, name="surcharge_anchor", problems=problems)


def quality_values() -> dict[str, ValueInfo]:
    """Value, spread and source of the constants of the law, by path in a study."""
    document = read_yaml(presets_directory() / "quality" / "constants.yaml")
    problems = problems_of(document)
    data = inherit_sources(document.data)
    known = path_units(QualityConstants)
    found = {
        f"{section}.{path}": info
        for section, kind in SECTIONS.items()
        for path, info in read_values(
            kind, data[section], problems=problems, prefix=section
        ).items()
    }
    problems.raise_if_any()
    return {f"{PREFIX}{path}": info for path, info in found.items() if path in known}


def inherit_sources(data: dict[str, Any]) -> dict[str, Any]:
    """The same mapping with the source and status of a group at each entry.

    Example:
        >>> inherit_sources({"a": {"source": "S", "x": {"value": 1}, "y": 2}})
        {'a': {'x': {'source': 'S', 'value': 1}, 'y': {'source': 'S', 'value': 2}}}
    """
    return {key: _inherit(entry, {}) for key, entry in data.items()}


def _inherit(entry: Any, shared: dict[str, Any]) -> Any:
    if not isinstance(entry, dict):
        return {**shared, "value": entry} if shared else entry
    if "value" in entry:
        return {**shared, **entry}
    own = {key: entry[key] for key in SHARED_KEYS if key in entry}
    below = {**shared, **own}
    return {key: _inherit(entry[key], below) for key in entry if key not in own}


def _section(kind: type[_R], data: Any, *, name: str, problems: Problems) -> _R:
    """A record of one section; stops at the first section with problems."""
    built = build_record(kind, data, problems=problems, prefix=name)
    return _stop_at_none(built, problems)


def _stop_at_none(record: _R | None, problems: Problems) -> _R:
    if record is None:
        raise InputError(problems.text())
    return record


def _stack(records: list[_R]) -> _R:
    """One record whose leaves have an entry per given record."""
    stacked: _R = jax.tree.map(lambda *leaves: np.stack(leaves), *records)
    return stacked


def _normalise(laws: Laws) -> Laws:
    return laws.replace(weight=laws.weight / np.sum(laws.weight))


def _read_laws(data: dict[str, Any], problems: Problems) -> Laws:
    """All base laws of the file, stacked; their surcharge scale still 1."""
    built = [
        build_record(
            Laws,
            entry,
            problems=problems,
            prefix=f"laws.{name}",
            defaults={"delta_scale": 1.0},
        )
        for name, entry in data.items()
    ]
    return _normalise(_stack([_stop_at_none(law, problems) for law in built]))


def _read_head(
    data: dict[str, Any], laws: Laws, *, names: list[str], problems: Problems
) -> Head:
    """The score of every base law that has one, with those laws."""
    for name in data:
        if name not in names:
            problems.unknown_key(f"mmlu.{name}", names)
    problems.raise_if_any()
    chosen = [names.index(name) for name in data]
    own: Laws = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], laws)
    built = [
        build_record(Curve, entry, problems=problems, prefix=f"mmlu.{name}")
        for name, entry in data.items()
    ]
    curve = _stack([_stop_at_none(entry, problems) for entry in built])
    return Head(laws=_normalise(own), curve=curve)


def _scale_laws(laws: Laws, anchor: Anchor) -> Laws:
    """The laws with the scale that carries the first one's nats into theirs."""
    return laws.replace(delta_scale=jax.device_get(_relative_gaps(laws, anchor)))


@jitted(level=0)
def _relative_gaps(laws: Laws, anchor: Anchor) -> Array:
    gap = dense_gap(laws, small=anchor.small, large=anchor.large, tokens=anchor.tokens)
    return gap / gap[0]
