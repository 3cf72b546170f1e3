"""What does one shard of a job hold? The same numbers, whoever computes it.

Job and shard number -> NumPy columns, one row per point.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from codesign.config.faults import legal_points
from codesign.config.limits import Limit
from codesign.config.study import Study
from codesign.config.sweep import LIMITS, QUALITY
from codesign.core.checks import check_x64
from codesign.core.compiler import cpu_options
from codesign.core.paths import get_path, set_path
from codesign.cost.governor import govern, settle
from codesign.cost.limits import Limits
from codesign.cost.record import Cost
from codesign.cost.total import assemble, prepare
from codesign.optimize.problem import log_constraint
from codesign.optimize.result import TOLERANCE
from codesign.optimize.yardstick import build_yardstick
from codesign.outcome.answer import complete, metric
from codesign.outcome.terms import (
    Terms,
    Yardstick,
    answer_shortfall,
    comparable,
)
from codesign.quality.evaluate import quality
from codesign.serving.design import Design, set_parameter
from codesign.study.job import Job
from codesign.study.points import Floats, point_values
from codesign.study.search import Searcher

Columns = dict[str, NDArray[Any]]

LANES = 256  # designs of one compiled call; the last one is filled up
KEPT = 1e-6  # largest ln(use / limit) of a limit that counts as kept


class Worker:
    """A job with its compiled function; every shard goes through the same one."""

    def __init__(self, job: Job) -> None:
        check_x64()
        self.job = job
        self.paths = tuple(axis.path for axis in job.plan.axes)
        self.compute = self._search() if job.plan.search else self._evaluate()

    def shard(self, index: int) -> Columns:
        """Columns of one shard, in the order of the job's units."""
        start, stop = self.job.bounds(index)
        values = point_values(self.job.plan, start=start, stop=stop)
        legal = self.legal(values)
        columns: Columns = {
            "point": np.arange(start, stop),
            **dict(zip(self.paths, values.T, strict=True)),
            "legal": legal,
            **self.compute(values, legal),
        }
        return {name: canonical(columns[name]) for name in self.job.units()}

    def legal(self, values: Floats) -> NDArray[np.bool_]:
        """Which points are designs that could be built at all."""
        chosen = [i for i, p in enumerate(self.paths) if not _is_outside(p)]
        if not chosen:
            return np.ones(len(values), bool)
        return legal_points(
            self.job.study.baseline,
            [self.paths[i] for i in chosen],
            values=values[:, chosen],
        )

    def _evaluate(self) -> Callable[[Floats, NDArray[np.bool_]], Columns]:
        study = self.job.study
        yardstick = build_yardstick(study)
        function = batch_evaluator(
            Shape(
                paths=self.paths,
                metrics=self.job.metrics,
                limits=tuple(x for x in study.limits if is_fixed(x)),
                terms=study.terms,
                always=tuple(
                    n for n in Limits.__dataclass_fields__ if n not in study.off
                ),
                is_open="request.rate" in self.paths
                or float(study.baseline.request.rate) > 0,
            )
        )

        def compute(values: Floats, legal: NDArray[np.bool_]) -> Columns:
            found = [
                function(group, study.baseline, yardstick=yardstick)
                for group in device_groups(values)
            ]
            done = np.concatenate(jax.device_get(found))[: len(values)]
            done = np.where(legal[:, None], done, np.nan)
            columns = dict(zip(self.job.metrics, done.T, strict=False))
            violation = done[:, -1]
            return {**columns, "violation": violation, "feasible": violation <= KEPT}

        return compute

    def _search(self) -> Callable[[Floats, NDArray[np.bool_]], Columns]:
        searcher = Searcher(self.job.study)
        names = [name for name in self.job.units() if name not in self.paths]

        def one(row: Floats, legal: bool) -> Mapping[str, Any]:
            if not legal:
                return {"status": "The point is no legal design.", "feasible": False}
            rung = searcher.best(self.at(row), yardstick=self.yardstick_at(row))
            found = {name: float(metric(rung, name)) for name in self.job.metrics}
            free = [v.path for v in self.job.study.free]
            found |= {path: float(get_path(rung.design, path)) for path in free}
            return {
                **found,
                "violation": rung.violation,
                "feasible": rung.violation <= TOLERANCE,
                "status": "kept" if rung.feasible else f"breaks {rung.worst}",
            }

        def compute(values: Floats, legal: NDArray[np.bool_]) -> Columns:
            rows = [one(v, ok) for v, ok in zip(values, legal, strict=True)]
            wanted = [name for name in names if name not in {"point", "legal"}]
            return {
                name: np.array([row.get(name, np.nan) for row in rows])
                for name in wanted
            }

        return compute

    def at(self, row: Floats) -> Study:
        """The study at the values of one point."""
        study = self.job.study
        for path, value in zip(self.paths, row, strict=True):
            if path.startswith(LIMITS):
                study = _with_limit(study, path, value=float(value))
            elif not path.startswith(QUALITY):
                changed = set_parameter(
                    study.baseline, path, value=jnp.asarray(value, jnp.float64)
                )
                study = replace(study, baseline=changed)
        return study

    def yardstick_at(self, row: Floats) -> Yardstick:
        """Reference and constants of the quality law at the values of one point."""
        yardstick = build_yardstick(self.job.study)
        for path, value in zip(self.paths, row, strict=True):
            if path.startswith(QUALITY):
                name = path.removeprefix(QUALITY)
                yardstick = _with_constant(yardstick, name, value=jnp.asarray(value))
        return yardstick


@dataclass(frozen=True)
class Shape:
    """What fixes the trace of an evaluation; everything else is an argument."""

    paths: tuple[str, ...]
    metrics: tuple[str, ...]
    limits: tuple[Limit, ...]
    always: tuple[str, ...]
    is_open: bool
    terms: Terms


def is_fixed(limit: Limit) -> bool:
    """Whether a limit is known without a search: no tuned baseline, no draws."""
    return not limit.baseline and limit.quantile is None


def bound_of(limit: Limit) -> float:
    """Right side of a fixed limit; one on a path of the design does not use it."""
    return limit.factor if limit.value is None else limit.value


@lru_cache(maxsize=16)
def batch_evaluator(shape: Shape) -> Any:
    """Jitted metrics of a batch of values, and the worst of the limits last.

    Hard maxima, governor settled, and the batch too where an arrival rate is
    given, as ``evaluate`` does for one design. Limits that refer to a tuned
    baseline, or hold in a share of draws, are left to searches.
    """

    def one(values: Array, base: Design, *, yardstick: Yardstick) -> Array:
        design, judge = _placed(shape.paths, values, base=base, yardstick=yardstick)
        known = judge._asdict()
        tokens = design.request.output_length
        design = comparable(design, shape.terms, base=base, **known)
        cost = settled_cost(design, is_open=shape.is_open)
        scored = quality(design.model, **known)
        found = complete(design, cost, scored=scored, constants=judge.constants)
        asked = [
            log_constraint(limit, found, design=design, bound=bound_of(limit))
            for limit in shape.limits
        ]
        kept = [getattr(cost.limits, name) for name in shape.always]
        if shape.terms.answers:
            kept.append(answer_shortfall(design.model, tokens=tokens, **known))
        worst = jnp.max(jnp.stack([jnp.asarray(x) for x in (*asked, *kept)]))
        shown = [jnp.asarray(metric(found, name)) for name in shape.metrics]
        return jnp.stack([*shown, worst])

    def every(values: Array, base: Design, *, yardstick: Yardstick) -> Array:
        return jax.vmap(lambda row: one(row, base, yardstick=yardstick))(values)

    return jax.jit(every, compiler_options=cpu_options())


def settled_cost(design: Design, *, is_open: bool) -> Cost:
    """Cost with the governor settled, and the batch if a rate is given.

    The same as ``evaluate``, which under ``vmap`` cannot see that no lane has a
    rate and would search for every batch.
    """
    design = settle(design) if is_open else design
    ready = prepare(design)
    return assemble(govern(design, ready), ready)


def canonical(column: NDArray[Any]) -> NDArray[Any]:
    """One bit pattern for zero and for what is not a number, so equal is equal."""
    if column.dtype != np.float64:
        return column
    return np.where(np.isnan(column), np.nan, column + 0.0)


def _is_outside(path: str) -> bool:
    return path.startswith((LIMITS, QUALITY))


def _placed(
    paths: tuple[str, ...], values: Array, *, base: Design, yardstick: Yardstick
) -> tuple[Design, Yardstick]:
    for index, path in enumerate(paths):
        if path.startswith(QUALITY):
            name = path.removeprefix(QUALITY)
            yardstick = _with_constant(yardstick, name, value=values[index])
        else:
            base = set_parameter(base, path, value=values[index])
    return base, yardstick


def _with_constant(yardstick: Yardstick, name: str, *, value: Array) -> Yardstick:
    """The yardstick with a constant of the law changed, for model and reference."""
    theirs = yardstick.reference_constants
    return yardstick._replace(
        constants=set_path(yardstick.constants, name, value=value),
        reference_constants=None
        if theirs is None
        else set_path(theirs, name, value=value),
    )


def _with_limit(study: Study, path: str, *, value: float) -> Study:
    name = path.removeprefix(LIMITS)

    def moved(limit: Limit) -> Limit:
        if limit.metric != name:
            return limit
        text = f"{limit.metric} {limit.sense} {value:g}"
        return Limit(limit.metric, limit.sense, text, value=value)

    return replace(study, limits=tuple(moved(limit) for limit in study.limits))


def device_groups(values: Floats) -> list[Any]:
    """Rows cut into groups of equal size, the last one filled up.

    On a host with several devices a group holds as many lanes for each of them and is
    laid out over all: one program, each device its share of the lanes. Numbers then
    differ in the last bits, so the number of devices belongs to a run's identity.
    """
    layout = device_layout()
    lanes = LANES * (layout.num_devices if layout else 1)
    count = len(values)
    index = np.minimum(np.arange(-(-count // lanes) * lanes), count - 1)
    groups = list(values[index].reshape(-1, lanes, values.shape[1]))
    return [jax.device_put(group, layout) for group in groups] if layout else groups


@lru_cache(maxsize=1)
def device_layout() -> NamedSharding | None:
    """One share of the rows for each device of this process; None of a single one."""
    devices = np.array(jax.local_devices())
    if len(devices) == 1:
        return None
    return NamedSharding(Mesh(devices, ("lane",)), PartitionSpec("lane"))
