"""Two designs differ: in what, in which metrics, and which change did it?

Two runs, results or designs -> variables, metrics and components side by side,
and the change of one metric shared out among the variables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codesign.config.design import load_design
from codesign.config.doubts import Doubts, study_doubts
from codesign.core.checks import check_x64
from codesign.core.compiler import cpu_options
from codesign.core.errors import InputError, UnknownNameError
from codesign.core.paths import get_path, nearest, path_units, set_path
from codesign.core.record import as_float64
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.optimize.result import Result
from codesign.serving.design import Design
from codesign.study.runs import MANIFEST, read_json
from codesign.study.worker import settled_cost

Comparable = Design | Result | str | Path

ORDERS = 16  # in which variables change; half of them the reverse of the others
MOST_SINGLE = 24  # variables; more are taken together by group
LANES = 128
LAYERS = (
    "model.num_layers",
    "model.num_ffn_layers",
    "model.num_window_layers",
    "model.recurrent.num_layers",
)
COMPONENTS = "breakdown.energy."
DRAFT = "draft"


@dataclass(frozen=True)
class Change:
    """One value before and after; ``unit`` is SI."""

    name: str
    unit: str
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """After over before; infinite from zero."""
        return self.after / self.before if self.before else np.inf


@dataclass(frozen=True)
class Comparison:
    """What changed between two designs, and why one metric did.

    ``variables`` and ``metrics`` are those that differ; ``components`` share
    the energy per token. ``why`` has ln(after / before) of the metric ``of``
    due to each variable or group of them; its values add up to ``total``.
    ``unsure`` has the values of both chips that were announced, recalled or assumed;
    None where a design names no chip.
    """

    of: str
    variables: tuple[Change, ...]
    metrics: tuple[Change, ...]
    components: tuple[Change, ...]
    why: dict[str, float]
    unsure: tuple[Doubts | None, Doubts | None] = (None, None)

    @property
    def total(self) -> float:
        """ln(after / before) of the metric."""
        return float(sum(self.why.values()))


def compare(
    before: Comparable, after: Comparable, *, of: str = "energy_per_token_server"
) -> Comparison:
    """What changed from one design to another, and which change moved a metric.

    The designs are given as such, as results, as YAML files or as folders of
    runs, whose best design counts. A variable's share is the mean change of
    ln(metric) when it is changed last, next or first: the Shapley value over
    random orders, each taken forwards and backwards, so shares are exact in sum.

    Assumes: designs half-way between the two can be evaluated, though they may
    break limits. Layer counts change together.
    Source: Shapley, "A value for n-person games", 1953; Castro, Gomez, Tejada,
    "Polynomial calculation of the Shapley value based on sampling", 2009.

    Raises:
        InputError: a folder holds no best design; only one has a draft model.
        UnknownNameError: the metric is not one of ``Cost``.

    Example:
        ``compare("runs/a", "runs/b").why["chip.dram.bandwidth"]``
    """
    check_x64()
    if of not in path_units(Cost):
        close = ", ".join(nearest(of, list(path_units(Cost))) or [])
        raise UnknownNameError(f"{of}: no such field of Cost. Close: {close}.")
    first, last = as_float64(design_of(before)), as_float64(design_of(after))
    if (first.draft is None) != (last.draft is None):
        raise InputError(
            "One design has a draft model, the other none; there is nothing between "
            "them. Compare their metrics with codesign evaluate."
        )
    old, new = (jax.device_get(evaluate(each)) for each in (first, last))
    changes = _changes(old, new, kind=Cost)
    return Comparison(
        of=of,
        variables=_changes(first, last, kind=Design),
        metrics=tuple(c for c in changes if not c.name.startswith("breakdown.")),
        components=tuple(
            Change(
                c.name.removeprefix(COMPONENTS),
                c.unit,
                before=c.before,
                after=c.after,
            )
            for c in changes
            if c.name.startswith(COMPONENTS)
        ),
        why=_shares(first, last, of=of),
        unsure=(doubts_of(before), doubts_of(after)),
    )


def design_of(given: Comparable) -> Design:
    """The design of a result, file or run's folder.

    Raises:
        InputError: there is none.
    """
    if isinstance(given, Design):
        return given
    if isinstance(given, Result):
        return given.design
    path = Path(given)
    file = path / "best.yaml" if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{path}: holds no best.yaml; name a run or a design file.")
    return load_design(file)


def doubts_of(given: Comparable) -> Doubts | None:
    """Doubtful values behind a result or a run's folder; None of a bare design."""
    if isinstance(given, Design):
        return None
    if isinstance(given, Result):
        return study_doubts(given.study)
    manifest = Path(given) / MANIFEST
    return read_json(manifest).get("unsure") if manifest.is_file() else None


def _changes(before: Any, after: Any, *, kind: Any) -> tuple[Change, ...]:
    found: list[Change] = []
    for path, unit in path_units(kind).items():
        old, new = np.asarray(get_path(before, path)), np.asarray(get_path(after, path))
        if old.ndim == 0 and not np.array_equal(old, new, equal_nan=True):
            found.append(Change(path, unit.text, before=float(old), after=float(new)))
    return tuple(found)


def _groups(before: Design, after: Design) -> dict[str, tuple[str, ...]]:
    """Leaves that change together, by the name they are reported under."""
    changed = [
        path
        for path in path_units(Design)
        if not np.array_equal(get_path(before, path), get_path(after, path))
    ]
    depth = 2 if len(changed) > MOST_SINGLE else len(path_units(Design))
    groups: dict[str, tuple[str, ...]] = {}
    for path in changed:
        name = ".".join(path.split(".")[:depth])
        name = LAYERS[0] if path in LAYERS else name
        groups[name] = (*groups.get(name, ()), path)
    drafts = zip(*map(jax.tree.leaves, (before.draft, after.draft)), strict=True)
    if not all(np.array_equal(old, new) for old, new in drafts):
        groups[DRAFT] = (DRAFT,)
    return groups


def _shares(before: Design, after: Design, *, of: str) -> dict[str, float]:
    groups = _groups(before, after)
    names = list(groups)
    if not names:
        return {}
    orders = _orders(len(names))
    steps = [
        _mixed(before, after, chosen=[groups[names[i]] for i in order[:count]])
        for order in orders
        for count in range(len(names) + 1)
    ]
    values = np.log(_evaluated(steps, of=of)).reshape(len(orders), -1)
    gains = np.diff(values, axis=1)
    sound = np.all(np.isfinite(gains), axis=1)
    if not sound.any():
        raise InputError(f"{of}: no way from one design to the other stays finite.")
    shares = np.zeros(len(names))
    for order, gain in zip(orders[sound], gains[sound], strict=True):
        shares[order] += gain / sound.sum()
    ranked = sorted(zip(names, shares, strict=True), key=lambda item: -abs(item[1]))
    return {name: float(share) for name, share in ranked}


def _orders(count: int) -> Any:
    rng = np.random.default_rng(0)
    half = [rng.permutation(count) for _ in range(ORDERS // 2)]
    return np.array([*half, *(order[::-1] for order in half)])


def _mixed(
    before: Design, after: Design, *, chosen: Sequence[tuple[str, ...]]
) -> Design:
    design = before
    for path in (path for group in chosen for path in group):
        if path == DRAFT:
            design = design.replace(draft=after.draft)
            continue
        design = set_path(design, path, value=get_path(after, path))
    return design


def _evaluated(designs: Sequence[Design], *, of: str) -> Any:
    count = len(designs)
    filled = [*designs, *[designs[-1]] * (-count % LANES)]
    is_open = any(float(design.request.rate) > 0 for design in designs)
    function = _evaluator(of, is_open=is_open)
    found: list[Any] = []
    for start in range(0, len(filled), LANES):
        group = filled[start : start + LANES]
        stacked: Any = jax.tree.map(lambda *leaves: jnp.stack(leaves), *group)
        found.append(jax.device_get(function(stacked)))
    return np.concatenate(found)[:count]


@lru_cache(maxsize=8)
def _evaluator(of: str, *, is_open: bool) -> Any:
    def one(design: Design) -> Any:
        return get_path(settled_cost(design, is_open=is_open), of)

    return jax.jit(jax.vmap(one), compiler_options=cpu_options())


def comparison_to_dict(found: Comparison) -> Mapping[str, Any]:
    """Plain data of a comparison, SI."""

    def plain(changes: Sequence[Change]) -> dict[str, Any]:
        return {
            c.name: {"before": c.before, "after": c.after, "unit": c.unit}
            for c in changes
        }

    return {
        "of": found.of,
        "log_ratio": found.total,
        "why": found.why,
        "variables": plain(found.variables),
        "metrics": plain(found.metrics),
        "components": plain(found.components),
        "unsure": dict(zip(("before", "after"), found.unsure, strict=True)),
    }
