"""What is best at one point of a sweep, after the compilation of the first?

Studies that differ in values only -> the best legal design of each, by one
compiled engine.
"""

import copy
from functools import partial

import numpy as np

from codesign.config.study import Study
from codesign.core.compiler import jitted
from codesign.core.record import as_float64
from codesign.optimize.climber import EVERYTHING, Climber
from codesign.optimize.problem import build_problem
from codesign.optimize.result import Rung
from codesign.optimize.space import build_space
from codesign.optimize.trace import silent
from codesign.outcome.terms import Yardstick
from codesign.quality.evaluate import quality


class Moved(Climber):
    """The climber of another study with the same variables and limits.

    Values of limits, bounds and the baseline are arguments of the compiled
    functions, so nothing is compiled again.
    """

    def __init__(
        self, first: Climber, study: Study, *, yardstick: Yardstick | None
    ) -> None:
        self.study = study
        self.progress = silent
        self.space = build_space(study)
        self.problem = build_problem(study, self.space)
        known = yardstick or first.yardstick
        self.yardstick = known._replace(reference=as_float64(study.reference))
        self.drawn = first.drawn
        self.rng = np.random.default_rng(study.search.seed)
        self.engine = copy.copy(first.engine)
        self.engine.space = self.space
        self.theta = self._theta(None)
        self.checkpoint = None
        self.searches = 0
        self._quality = jitted(level=0)(partial(quality, **self.yardstick._asdict()))


class Searcher:
    """Searches at the points of one sweep; the first compiles for all."""

    def __init__(self, study: Study) -> None:
        self.first = Climber(study, silent)

    def best(self, study: Study, *, yardstick: Yardstick | None = None) -> Rung:
        """The best legal design of a study, by the steps of ``optimize``."""
        climber = Moved(self.first, study, yardstick=yardstick)
        given = climber.as_given()
        tuned = climber.tune(given)
        return climber.climb(
            "co-designed",
            mask=climber.space.select(EVERYTHING),
            known=np.stack([tuned.values, given.values]),
        )
