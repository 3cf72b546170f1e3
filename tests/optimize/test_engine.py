"""The compiled functions of the shipped study have a number for every start."""

import numpy as np
import pytest

from codesign.config.study import load_study
from codesign.optimize.climber import EVERYTHING
from codesign.optimize.ends import without_number
from codesign.optimize.engine import Engine
from codesign.optimize.lagrangian import Schedule
from codesign.optimize.problem import build_problem, build_theta
from codesign.optimize.space import build_space
from codesign.optimize.yardstick import build_yardstick

STARTS = 512


@pytest.mark.slow
def test_no_start_of_the_shipped_study_is_lost_to_rounding():
    """Counts that are zero but for rounding once made times negative, then infinite."""
    study = load_study("joint_chat")
    space = build_space(study)
    theta = build_theta(
        study,
        space,
        constants=build_yardstick(study).constants,
        bounds=np.ones(len(study.limits)),
    )
    engine = Engine(
        build_problem(study, space), space, schedule=Schedule(rounds=1, steps=1)
    )
    points = np.random.default_rng(0).uniform(size=(STARTS, len(space.paths)))
    free = np.tile(space.select(EVERYTHING), (STARTS, 1))
    lanes = engine.descend(space.decode(points), theta, free=free)
    assert not without_number(lanes).any()
    assert np.isfinite(np.asarray(lanes.objective)).all()
