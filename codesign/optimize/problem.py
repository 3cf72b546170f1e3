"""What does the search minimise, and what must hold?

Variables and parameters of a problem -> logarithmic objective and constraints.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from codesign.config.limits import Limit, is_difference
from codesign.config.study import Study
from codesign.core.compiler import jitted
from codesign.core.paths import get_path
from codesign.core.quantities import Scalar
from codesign.core.record import Record
from codesign.core.smooth import Sharpness
from codesign.cost.limits import Limits
from codesign.model.transformer import Transformer
from codesign.optimize.joint import Joint, axes, combine, unstack
from codesign.optimize.space import Floats, Space, place
from codesign.outcome.answer import Outcome, Scored, metric, outcome
from codesign.outcome.handoff import Handoff, with_handoff
from codesign.outcome.terms import AS_PLACED, Terms, answer_shortfall, comparable
from codesign.quality.constants import QualityConstants
from codesign.quality.ensemble import (
    Paired,
    Reference,
    paired,
    quantile,
    smooth_quantile,
)
from codesign.quality.validity import Validity
from codesign.serving.design import Design

ANSWERS = "answers"  # the limit that a model can answer as well as the reference


class Theta(Record):
    """Everything a problem depends on besides its variables; all traced.

    ``bounds`` are the right sides of the study's limits, so that sweeps and
    baselines change them without a new trace. Limits at a quantile are taken
    over the draws of ``few`` in the search and of ``many`` on a legal design.
    A joint problem has one entry per case in ``mix`` and, where the cases differ,
    in the leaves of all others but the box; its ``bounds`` follow case by case.
    ``handoff`` makes a case a pool that hands its prompts over.
    """

    design: Design
    reference: Transformer
    constants: QualityConstants
    bounds: Array
    low: Array
    high: Array
    few: Reference | None = None
    many: Reference | None = None
    reference_constants: QualityConstants | None = None
    mix: Array | None = None
    handoff: Handoff | None = None


@dataclass(frozen=True)
class Problem:
    """Names that fix the trace: variables, objective, limits that are on.

    ``paths`` are the variables of a design; where ``joint`` is given, a point holds
    those of several.
    """

    paths: tuple[str, ...]
    minimize: str
    limits: tuple[Limit, ...]
    always: tuple[str, ...]
    terms: Terms = AS_PLACED
    joint: Joint | None = None

    @property
    def constraint_names(self) -> tuple[str, ...]:
        """Names of the constraints in the order of their values."""
        answers = (ANSWERS,) if self.terms.answers else ()
        each = (*(limit.text for limit in self.limits), *self.always, *answers)
        return each if self.joint is None else self.joint.constraint_names(each)

    @property
    def sources(self) -> tuple[tuple[int, int], ...]:
        """Of every constraint the case, and its place among those of one design."""
        number = len(replace(self, joint=None).constraint_names)
        if self.joint is None:
            return tuple((0, place) for place in range(number))
        return self.joint.sources(number)

    @property
    def shape(self) -> tuple[Any, ...]:
        """All that fixes the trace; the values of limits do not."""
        limits = [
            (x.metric, x.sense, x.quantile, x.path and (x.path, x.factor))
            for x in self.limits
        ]
        joint = self.joint and self.joint.shape
        return (self.paths, self.minimize, limits, self.always, self.terms, joint)


def build_problem(study: Study, space: Space) -> Problem:
    """The problem of a study, with every limit on that it does not turn off."""
    names = [f"limits.{n}" for n in Limits.__dataclass_fields__]
    names += [f"quality.validity.{n}" for n in Validity.__dataclass_fields__]
    return Problem(
        paths=space.paths,
        minimize=study.minimize,
        limits=study.limits,
        always=tuple(n for n in names if n.split(".")[-1] not in study.off),
        terms=study.terms,
    )


def log_constraint(
    limit: Limit, found: Scored, *, design: Design, bound: Scalar
) -> Scalar:
    """ln(metric / bound), or metric - bound for metrics that may be negative.

    Positive means violated; a bound on a design path is read from the design.
    """
    value = metric(found, limit.metric)
    if limit.path is not None:
        bound = limit.factor * get_path(design, limit.path)
    sign = 1.0 if limit.sense == "<=" else -1.0
    if is_difference(limit.metric):
        return sign * (value - bound)
    return sign * jnp.log(value / bound)


def log_quantile(
    limit: Limit, drawn: Paired, *, bound: Scalar, sharpness: Sharpness
) -> Scalar:
    """Quantile of metric - bound over the draws, <= 0 where enough of them keep it.

    Smooth: that of draws that are spread a little; hard: the exact one.
    """
    sign = 1.0 if limit.sense == "<=" else -1.0
    name = limit.metric.removeprefix("quality.")
    excess = sign * (getattr(drawn, name) - bound)
    level = limit.quantile or 0.0
    return (
        quantile(excess, level) if sharpness is None else smooth_quantile(excess, level)
    )


def design_at(problem: Problem, values: Floats, *, theta: Theta, case: int) -> Design:
    """The design of a case at a point's values, variables placed."""
    if problem.joint is None:
        return place(theta.design, problem.paths, values=values)
    bare = theta.replace(bounds=None, low=None, high=None, mix=None)
    own = unstack(problem.joint, bare, case=case)
    return place(own.design, problem.paths, values=problem.joint.split(values)[case])


def on_terms(problem: Problem, design: Design, *, theta: Theta) -> Design:
    """The design on the terms of the problem, see ``comparable``."""
    return comparable(
        design,
        problem.terms,
        base=theta.design,
        reference=theta.reference,
        constants=theta.constants,
        reference_constants=theta.reference_constants,
    )


def values_and_constraints(
    problem: Problem,
    point: Array,
    *,
    theta: Theta,
    sharpness: Sharpness,
    bounds: Array | None = None,
) -> tuple[Array, Array]:
    """Logarithm of the objective and all constraints at one unit-box point.

    ``bounds`` stand for those of the parameters where given.
    """
    bounds = theta.bounds if bounds is None else bounds
    values = jnp.exp(theta.low + point * (theta.high - theta.low))
    if problem.joint is None:
        return _one(
            problem,
            values,
            theta=theta,
            sharpness=sharpness,
            bounds=jnp.asarray(bounds),
        )
    joint = problem.joint
    every = theta.replace(bounds=None, low=None, high=None, mix=None)
    each = jax.vmap(
        lambda own, case, limits: _one(
            problem, own, theta=case, sharpness=sharpness, bounds=limits
        ),
        in_axes=(0, axes(joint, every), 0),
    )
    rows = jnp.reshape(bounds, (len(joint.names), -1))
    found = each(joint.split(values), every, rows)
    return combine(joint, found, mix=jnp.asarray(theta.mix), sharpness=sharpness)


def _one(
    problem: Problem,
    values: Array,
    *,
    theta: Theta,
    sharpness: Sharpness,
    bounds: Array,
) -> tuple[Array, Array]:
    """Logarithm of the objective and all constraints of one design."""
    design = place(theta.design, problem.paths, values=values)
    design = on_terms(problem, design, theta=theta)
    found = outcome(
        design,
        reference=theta.reference,
        constants=theta.constants,
        reference_constants=theta.reference_constants,
        sharpness=sharpness,
    )
    if theta.handoff is not None:
        handed = with_handoff(
            found.cost, design, handoff=theta.handoff, sharpness=sharpness
        )
        found = found.replace(cost=handed)
    return judge(
        problem, found, design=design, theta=theta, sharpness=sharpness, bounds=bounds
    )


def judge(
    problem: Problem,
    found: Outcome,
    *,
    design: Design,
    theta: Theta,
    sharpness: Sharpness,
    bounds: Array,
) -> tuple[Array, Array]:
    """Logarithm of the objective and all constraints of a design's outcome."""
    reference = theta.many if sharpness is None else theta.few
    drawn = None if reference is None else paired(design.model, reference)
    asked = [
        log_constraint(limit, found, design=design, bound=bounds[i])
        if limit.quantile is None or drawn is None
        else log_quantile(limit, drawn, bound=bounds[i], sharpness=sharpness)
        for i, limit in enumerate(problem.limits)
    ]
    always = [jnp.asarray(metric(found, name)) for name in problem.always]
    if problem.terms.answers:
        short = answer_shortfall(
            design.model,
            tokens=theta.design.request.output_length,
            reference=theta.reference,
            constants=theta.constants,
            reference_constants=theta.reference_constants,
        )
        always.append(short)
    return jnp.log(metric(found, problem.minimize)), jnp.stack([*asked, *always])


def build_theta(
    study: Study,
    space: Space,
    *,
    constants: QualityConstants,
    bounds: np.ndarray,
    few: Reference | None = None,
    many: Reference | None = None,
    reference_constants: QualityConstants | None = None,
) -> Theta:
    """Parameters of a study's problem around its baseline.

    ``few`` and ``many`` are needed by a study with a limit at a quantile,
    ``reference_constants`` by one whose reference has a recipe of its own.
    """
    if few is None and any(limit.quantile is not None for limit in study.limits):
        raise ValueError("a limit at a quantile needs draws: few and many")
    return Theta(
        design=study.baseline,
        reference=study.reference,
        constants=constants,
        bounds=jnp.asarray(bounds, jnp.float64),
        low=jnp.asarray(space.low),
        high=jnp.asarray(space.high),
        few=few,
        many=many,
        reference_constants=reference_constants,
    )


def hard_evaluator(problem: Problem) -> Any:
    """Jitted hard objective and constraints of a batch of points."""

    def one(point: Array, theta: Theta) -> tuple[Array, Array]:
        return values_and_constraints(problem, point, theta=theta, sharpness=None)

    batch = jax.vmap(one, in_axes=(0, None))
    return jitted()(batch)


def puller(problem: Problem, *, sharpness: float) -> Any:
    """Jitted gradient of a weighted sum of objective and constraints at a point.

    Takes point, parameters and weights; returns the gradient in every leaf of
    ``design`` and of ``constants`` and in the ``point``, by name.
    Compiled in half the time at a quarter of the speed: it runs a few times.
    """

    def pull(point: Array, theta: Theta, *, weights: Array) -> dict[str, Any]:
        def weighted(wanted: dict[str, Any]) -> Array:
            place, held = wanted["point"], dict(wanted)
            del held["point"]
            objective, constraints = values_and_constraints(
                problem, place, theta=theta.replace(**held), sharpness=sharpness
            )
            return weights[0] * objective + weights[1:] @ constraints

        constants = {"design": theta.design, "constants": theta.constants}
        return jax.grad(weighted)({**constants, "point": point})

    return jitted(level=0)(pull)
