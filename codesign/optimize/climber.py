"""What is one rung? The best legal design of a study over some of its variables.

Study -> compiled engine, parameters, and a design for every mask of variables.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax

from codesign.config.limits import Limit
from codesign.config.quality import load_quality_draws
from codesign.config.study import Study
from codesign.core.checks import check_x64
from codesign.core.compiler import cpu_options, jitted
from codesign.core.record import as_float64
from codesign.cost.evaluate import evaluate
from codesign.optimize.checkpoint import Checkpoint, digest
from codesign.optimize.discrete import Mask
from codesign.optimize.engine import Engine
from codesign.optimize.lagrangian import Schedule
from codesign.optimize.problem import (
    Theta,
    build_problem,
    build_theta,
    on_terms,
)
from codesign.optimize.result import Rung
from codesign.optimize.search import Found, Search
from codesign.optimize.space import Floats, build_space, place, presolved_lines
from codesign.optimize.trace import Progress
from codesign.optimize.yardstick import build_yardstick
from codesign.outcome.answer import complete, metric
from codesign.quality.ensemble import (
    NUM_DRAWS,
    SEARCH_DRAWS,
    Reference,
    reference_under,
)
from codesign.quality.evaluate import check_training_tokens, quality
from codesign.serving.design import Design

TUNING_STARTS = 64
POWER_LIMIT = "deployment.power_limit"
HEADROOM = 1e-6  # of a power limit over the power drawn
UNBOUNDED = 1e9  # factor on a limit that refers to a baseline not yet tuned
EVERYTHING = ("deployment.", "model.", "chip.", "system.")


class Climber:
    """A study with its compiled engine and the rungs climbed so far."""

    def __init__(
        self,
        study: Study,
        progress: Progress,
        *,
        schedule: Schedule | None = None,
        transform: optax.GradientTransformation | None = None,
        checkpoint: Path | str | None = None,
    ) -> None:
        check_x64()
        check_training_tokens(study.baseline.model)
        self.study = study
        self.progress = progress
        self.space = build_space(study)
        for line in presolved_lines(study, self.space):
            progress(f"[presolved] {line}")
        self.problem = build_problem(study, self.space)
        self.yardstick = build_yardstick(study)
        self.drawn = _drawn(study)
        self.rng = np.random.default_rng(study.search.seed)
        self.engine = Engine(
            self.problem,
            self.space,
            schedule=schedule or Schedule(),
            transform=transform,
        )
        self.theta = self._theta(None)
        self.checkpoint = self._checkpoint(checkpoint, transform=transform)
        self.searches = 0
        self._quality = jitted(level=0)(partial(quality, **self.yardstick._asdict()))
        self.engine.compile(self.space.values_of(study.baseline), self.theta)

    def as_given(self) -> Rung:
        """The baseline at the batch and limits that the study gives it."""
        values = self.space.values_of(self.study.baseline)
        return self.rung("as given", values)

    def tune(self, given: Rung) -> Rung:
        """The baseline with its own variables tuned at the same limits.

        Few variables need few starts: 64 reach what 256 do to 1e-6.
        """
        mask = self.space.select(self.study.tune)
        starts = min(self.study.search.starts, TUNING_STARTS)
        rung = self.climb("tuned", mask=mask, known=given.values[None], starts=starts)
        self.refer_to(rung)
        return rung

    def refer_to(self, tuned: Rung) -> None:
        """Let limits that name the baseline refer to a tuned one from now on."""
        self.theta = self._theta(tuned)

    def climb(
        self, name: str, *, mask: Mask, known: Floats, starts: int | None = None
    ) -> Rung:
        """The best legal design over the masked variables."""
        self.engine.wait("refine", "hard")
        self.progress(f"[{name}]")
        self.searches += 1
        search = Search(
            self.engine,
            self.theta,
            mask,
            self.rng,
            checkpoint=self.checkpoint,
            name=f"{self.searches}-{name}",
        )
        found = search.run(
            known,
            starts=starts or self.study.search.starts,
            progress=self.progress,
        )
        best = self._tightened(found.pool.best(1).values[0], mask=mask)
        return self.rung(name, best, found=found)

    def _tightened(self, values: Floats, *, mask: Mask) -> Floats:
        """The design with a free power limit no higher than what it draws.

        The objective may not feel the rest, but power and cooling provided for
        it cost money, which limits on the price of a baseline refer to. Listed values
        and multiples stay.
        """
        loose = mask & ~self.space.coarse & ~self.space.fine
        (place_of,) = np.nonzero(loose & (np.array(self.space.paths) == POWER_LIMIT))
        if not place_of.size:
            return values
        cost = evaluate(self._design(values))
        drawn = max(float(cost.decode_power), float(cost.prefill_power))
        low = self.space.variables[place_of[0]].low
        tight = values.copy()
        tight[place_of] = np.minimum(values[place_of], max(drawn * (1 + HEADROOM), low))
        return tight

    def _design(self, values: Floats) -> Design:
        placed = place(self.study.baseline, self.space.paths, values=values)
        return as_float64(on_terms(self.problem, placed, theta=self.theta))

    def rung(self, name: str, values: Floats, *, found: Found | None = None) -> Rung:
        """The legal design at given values, its voltages those of the governor."""
        design = self._design(values)
        cost = evaluate(design)
        held = design.replace(
            deployment=design.deployment.replace(
                decode_voltage=cost.decode_voltage, prefill_voltage=cost.prefill_voltage
            )
        )
        values = self.space.values_of(held)
        constraints = self.engine.constraints(values[None], self.theta)[1][0]
        worst = int(np.argmax(constraints))
        scored = complete(
            held,
            cost,
            scored=self._quality(design.model),
            constants=self.yardstick.constants,
        )
        return Rung(
            name=name,
            design=held,
            cost=scored.cost,
            quality=scored.quality,
            service=scored.service,
            objective=float(metric(scored, self.study.minimize)),
            violation=float(constraints[worst]),
            worst=self.problem.constraint_names[worst],
            values=values,
            relaxed=found.relaxed if found else np.nan,
            agreement=found.agreement if found else np.nan,
            trace=tuple(found.trace) if found else (),
            lost=found.lost if found else np.zeros((0, len(values))),
        )

    def nearest(self, rung: Rung, values: Floats) -> Rung:
        """The rung of a search at a design that it did not find itself."""
        again = self.rung(rung.name, values)
        kept = {"relaxed": np.nan, "agreement": rung.agreement}
        return replace(again, **kept, trace=rung.trace, lost=rung.lost)

    def _checkpoint(
        self,
        folder: Path | str | None,
        *,
        transform: optax.GradientTransformation | None,
    ) -> Checkpoint | None:
        """States in a folder, bound to this question, seed and program."""
        if folder is None:
            return None
        search = self.study.search
        asked = {
            "problem": self.problem.shape,
            "space": self.space.variables,
            "tune": self.study.tune,
            "search": (search.starts, search.seed),
            "schedule": (self.engine.schedule, transform is not None),
        }
        about = digest(asked, arrays=jax.tree.leaves(self.theta))
        return Checkpoint(folder, about=about)

    def _theta(self, tuned: Rung | None) -> Theta:
        bounds = np.array([_bound(limit, tuned) for limit in self.study.limits])
        return build_theta(
            self.study,
            self.space,
            constants=self.yardstick.constants,
            bounds=bounds,
            reference_constants=self.yardstick.reference_constants,
            **self.drawn,
        )


def _drawn(study: Study) -> dict[str, Reference]:
    """The reference under the draws that limits at a quantile are taken over."""
    if all(limit.quantile is None for limit in study.limits):
        return {}
    model = as_float64(study.reference)
    under = jax.jit(reference_under, compiler_options=cpu_options(level=0))
    found: dict[str, Reference] = {}
    for name, count in (("few", SEARCH_DRAWS), ("many", NUM_DRAWS)):
        ours, theirs = (
            load_quality_draws(count=count, recipe=recipe)
            for recipe in (study.recipe, study.reference_recipe)
        )
        found[name] = under(ours, model, own=theirs)
    return found


def _bound(limit: Limit, tuned: Rung | None) -> float:
    if not limit.baseline:
        return limit.factor if limit.value is None else limit.value
    if tuned is None:
        return UNBOUNDED if limit.sense == "<=" else 1.0 / UNBOUNDED
    return limit.factor * float(metric(tuned, limit.metric))
