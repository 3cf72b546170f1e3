"""Which design still keeps its limits when the constants behind it are wrong?

A study with a section ``robust`` -> the design whose limits hold in a share of the
draws of uncertain constants, beside the one that is best at their central values.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from codesign.config.chances import Chances
from codesign.config.limits import is_difference, metric_units
from codesign.config.quality import load_quality_draws
from codesign.config.study import Study
from codesign.config.sweep import Axis, Plan
from codesign.core.errors import InputError
from codesign.core.paths import set_path
from codesign.core.show import html_table, quantity_text, text_table
from codesign.optimize.climber import EVERYTHING, Climber
from codesign.optimize.discrete import FEASIBLE
from codesign.optimize.joint import CHANCE, Joint
from codesign.optimize.problem import Theta
from codesign.optimize.result import Evidence, Relaxation, Rung
from codesign.optimize.scenarios import search_joint
from codesign.optimize.space import Floats
from codesign.optimize.trace import Lost, Progress, all_lost, silent
from codesign.quality.constants import QualityConstants
from codesign.study.points import point_values
from codesign.study.uncertainty import METHOD, constants_of, spread_axis

FRESH = 256  # draws that judge designs; none of them was searched over
QUALITY = "quality"


@dataclass(frozen=True)
class Judged:
    """A design under fresh draws: its objective in each, and what it keeps.

    ``kept`` is the probability of meeting each limit, ``together`` of all at once.
    """

    rung: Rung
    objective: Floats
    kept: dict[str, float]
    together: float


@dataclass(frozen=True)
class Robust:
    """A design for uncertain constants, beside the best one at central constants.

    ``constants`` are those that were drawn, ``quality`` among them stands for all of
    the quality law. Shadow prices in ``evidence`` are those of the limits at their
    share of the draws; ``found`` says whether any design keeps them so in the draws
    that were searched over; where none does, ``relaxation`` is the smallest change of
    the limits with which one does, and the design shown is that one. ``lost`` are lanes
    of all searches that had no number.
    """

    study: Study
    chances: Chances
    constants: tuple[str, ...]
    tuned: Judged
    nominal: Judged
    robust: Judged
    evidence: Evidence
    found: bool
    relaxed: float
    seconds: float
    relaxation: Relaxation | None = None
    lost: Lost = field(default_factory=Lost)

    @property
    def price(self) -> float:
        """Mean objective of the robust design over that of the nominal, minus one."""
        return (
            float(np.mean(self.robust.objective) / np.mean(self.nominal.objective)) - 1
        )

    @property
    def feasible(self) -> bool:
        """Whether limits hold at central constants and in their share of the draws."""
        return self.found and self.robust.rung.feasible

    @property
    def status(self) -> str:
        """What was found, in a sentence."""
        share, drawn = f"{self.chances.limits:.0%}", len(self.robust.objective)
        words = (
            f"The robust design keeps all limits in {self.robust.together:.0%} of "
            f"{drawn} fresh draws (each at least in "
            f"{min(self.robust.kept.values()):.0%}), the nominal one in "
            f"{self.nominal.together:.0%}; it costs {self.price:+.1%} on average."
        )
        words = " ".join(filter(None, (words, self.lost.text)))
        if self.found:
            return words
        relaxed = f" {self.relaxation.text}" if self.relaxation else ""
        return (
            f"No design was found that keeps every limit in {share} of the draws; "
            f"this is the nearest.{relaxed} {words}"
        )

    def __str__(self) -> str:
        return f"{self.study.name}: {self.status}\n{text_table(self.table())}"

    def _repr_html_(self) -> str:
        """Probabilities of the limits: what a notebook shows."""
        head, *rows = self.table()
        return html_table(head, rows, note=self.status)

    def table(self) -> list[tuple[str, ...]]:
        """Objective and probability of every limit that is ever broken, by design."""
        designs = (self.tuned, self.nominal, self.robust)
        unit = metric_units()[self.study.minimize]
        rows = [
            (
                f"{self.study.minimize}, mean",
                *(quantity_text(float(np.mean(d.objective)), unit) for d in designs),
            )
        ]
        rows += [
            (name, *(f"{design.kept[name]:.0%}" for design in designs))
            for name in self.robust.kept
            if min(design.kept[name] for design in designs[1:]) < 1.0
        ]
        rows.append(("all limits", *(f"{design.together:.0%}" for design in designs)))
        return [("share of draws", "tuned", "nominal", "robust"), *rows]


def robust(
    study: Study,
    *,
    progress: Progress = silent,
    checkpoint: Path | str | None = None,
) -> Robust:
    """The best design of which every limit holds in a share of the draws.

    min mean_k f(x, c_k), or Q_q(f)   s.t.   Q_p(g_i(x, c_k)) <= 0 for every limit i

    over draws c_k of the constants: technology, stack and chip by a Latin hypercube
    within their published spread, quality by the ensemble of its law. The design is
    judged on 256 other draws. A limit against the ``baseline`` is one against the
    tuned baseline under the same draw. Where no design is found, the result says what
    to change. ``checkpoint`` as in ``optimize``.

    Assumes: constants are independent; a chip keeps its anchor; voltages stay as
    designed, so that a draw that needs more power breaks the limit on power instead
    of slowing down.
    Source: Charnes and Cooper, "Chance-constrained programming", Management
    Science 6(1), 1959, with the sample quantile in place of the distribution.

    Raises:
        InputError: the study has no section ``robust``, nothing in it has a spread,
            or quality is drawn twice; or the checkpoint is of another question or
            version.
    """
    clock = time.perf_counter()
    chances = study.chances
    if chances is None:
        raise InputError(f"{study.name}: has no section robust; say what is drawn.")
    if QUALITY in chances.over and any(x.quantile for x in study.limits):
        raise InputError(
            f"{study.name}: a limit at a share of draws and robust.over: quality both "
            "draw the constants of quality; drop one."
        )
    drawn = _axes(study, chances)
    climber = Climber(study, progress, checkpoint=checkpoint)
    tuned = climber.tune(climber.as_given())
    mask = climber.space.select(EVERYTHING)
    nominal = climber.climb("nominal", mask=mask, known=tuned.values[None])
    seen = [
        _paired(climber, theta, tuned=tuned)
        for theta in _thetas(climber, chances, axes=drawn, draws=chances.draws)
    ]
    count = len(seen)
    joint = Joint(
        names=tuple(f"draw {k}" for k in range(count)),
        columns=(tuple(range(len(climber.space.paths))),) * count,
        judge=CHANCE,
        level=chances.limits,
        objective=chances.objective,
    )
    solved = search_joint(
        climber,
        joint,
        space=climber.space,
        thetas=seen,
        mix=np.full(count, -np.log(count)),
        known=[[rung.values] * count for rung in (nominal, tuned)],
    )
    relaxation = None if solved.feasible else solved.relax(climber)
    values = solved.best if relaxation is None else relaxation.nearest
    chosen = climber.rung("robust", values)
    progress(f"[{FRESH} fresh draws]")
    fresh = [
        _paired(climber, theta, tuned=tuned)
        for theta in _thetas(climber, chances, axes=drawn, draws=FRESH)
    ]
    judged = _judged(climber, fresh, rungs=(tuned, nominal, chosen))
    whole = (QUALITY,) if QUALITY in chances.over else ()
    return Robust(
        study=study,
        chances=chances,
        constants=(*(axis.path for axis in drawn), *whole),
        tuned=judged[0],
        nominal=judged[1],
        robust=judged[2],
        evidence=solved.evidence(values),
        found=solved.feasible,
        relaxed=solved.found.relaxed,
        seconds=time.perf_counter() - clock,
        relaxation=relaxation,
        lost=all_lost([tuned, nominal], paths=climber.space.paths)
        + solved.lost(relaxation),
    )


def _axes(study: Study, chances: Chances) -> list[Axis]:
    """How every constant is drawn, but for those of quality."""
    found = [
        axis
        for group in chances.over
        if group != QUALITY
        for path, info in constants_of(
            study, group, named={"chip": None, "stack": None}
        ).items()
        if (axis := spread_axis(study, path, info=info)) is not None
    ]
    if not found and QUALITY not in chances.over:
        raise InputError(
            f"robust over {', '.join(chances.over)}: nothing has a spread."
        )
    return found


def _thetas(
    climber: Climber, chances: Chances, *, axes: Sequence[Axis], draws: int
) -> Iterator[Theta]:
    """The parameters of the study under each draw; another number is another set."""
    seed = chances.seed + draws
    rows = np.empty((draws, 0))
    if axes:
        plan = Plan(METHOD, tuple(axes), points=draws, seed=seed)
        rows = point_values(plan, start=0, stop=draws)
    laws = _laws(climber, chances, draws=draws)
    for row, law in zip(rows, laws, strict=True):
        design = climber.theta.design
        for axis, value in zip(axes, row, strict=True):
            design = set_path(design, axis.path, value=jnp.asarray(value, jnp.float64))
        yield climber.theta.replace(design=design, **law)


def _laws(
    climber: Climber, chances: Chances, *, draws: int
) -> list[dict[str, QualityConstants]]:
    """Constants of quality under each draw, for the models and their reference."""
    study, theta = climber.study, climber.theta
    if QUALITY not in chances.over:
        return [{} for _ in range(draws)]
    named = {"constants": (theta.constants, study.recipe)}
    if theta.reference_constants is not None:
        own = (theta.reference_constants, study.reference_recipe)
        named["reference_constants"] = own
    each = {
        name: (middle, load_quality_draws(count=draws, recipe=recipe).constants)
        for name, (middle, recipe) in named.items()
    }
    return [
        {name: _law(middle, drawn, k=k) for name, (middle, drawn) in each.items()}
        for k in range(draws)
    ]


def _law(
    middle: QualityConstants, drawn: QualityConstants, *, k: int
) -> QualityConstants:
    """The constants of one draw in the shapes of the central ones.

    A draw holds one law; it stands in every place of the axis of laws, whose
    weighted mean it then is.
    """

    def one(central: jax.Array, leaf: jax.Array) -> jax.Array:
        shape, leaf = jnp.shape(central), jnp.asarray(leaf, jnp.float64)
        if jnp.shape(leaf) == shape:
            return leaf
        return jnp.broadcast_to(leaf[k], shape)

    found: QualityConstants = jax.tree.map(
        one, middle.replace(laws=None), drawn.replace(laws=None)
    )
    laws = jax.tree.map(
        lambda a, b: jnp.broadcast_to(b[k], jnp.shape(a)), middle.laws, drawn.laws
    )
    count = jnp.shape(laws.weight)[0]
    return found.replace(laws=laws.replace(weight=jnp.full(count, 1.0 / count)))


def _paired(climber: Climber, theta: Theta, *, tuned: Rung) -> Theta:
    """The parameters with bounds that refer to the baseline under the same draw."""
    limits = climber.study.limits
    if not any(limit.baseline for limit in limits):
        return theta
    ones = theta.replace(bounds=jnp.ones(len(limits)))
    said = climber.engine.constraints(tuned.values[None], ones)[1][0]
    bounds = np.array(theta.bounds)
    for i, limit in enumerate(limits):
        sign = 1.0 if limit.sense == "<=" else -1.0
        if limit.baseline:
            quality = is_difference(limit.metric)
            value = sign * said[i] + 1.0 if quality else np.exp(sign * said[i])
            bounds[i] = limit.factor * value
    return theta.replace(bounds=jnp.asarray(bounds))


def _judged(
    climber: Climber, draws: Sequence[Theta], *, rungs: Sequence[Rung]
) -> list[Judged]:
    values = np.stack([rung.values for rung in rungs])
    said = [climber.engine.constraints(values, theta) for theta in draws]
    objective = np.exp([f for f, _ in said])
    kept = np.array([g for _, g in said]) <= FEASIBLE
    names = climber.problem.constraint_names
    return [
        Judged(
            rung=rung,
            objective=objective[:, i],
            kept=dict(zip(names, map(float, kept[:, i].mean(axis=0)), strict=True)),
            together=float(kept[:, i].all(axis=1).mean()),
        )
        for i, rung in enumerate(rungs)
    ]
