"""A sweep that optimises at each point finds what a search of each study finds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codesign.config.sweep import build_plan
from codesign.core.errors import InputError
from codesign.optimize import optimize
from codesign.study.job import build_job
from codesign.study.sweep import sweep
from tests.optimize.studies import load_small, quick_search

pytestmark = pytest.mark.slow

LIMIT = "subject_to.time_per_output_token"


def test_search_at_each_point_is_the_search_of_its_study(tmp_path: Path):
    study = load_small(tmp_path, "search.starts=8")
    over = {LIMIT: ["20 ms", "60 ms"]}
    with quick_search():
        table = sweep(study, over, search=True)
        tight = replace(
            study.limits[0], text="time_per_output_token <= 0.02", value=0.02
        )
        alone = optimize(replace(study, limits=(tight, *study.limits[1:])))
    assert table["energy_per_token_server"][0] == alone.best.objective
    assert table["energy_per_token_server"][1] <= table["energy_per_token_server"][0]
    assert table["feasible"].all()
    free = [variable.path for variable in study.free]
    assert np.isfinite([table[path] for path in free]).all()


def test_only_limits_of_the_study_are_swept(tmp_path: Path):
    study = load_small(tmp_path)
    plan = build_plan({"subject_to.power": ["500 W"]}, search=True)
    with pytest.raises(InputError, match="the study limits time_per_output_token"):
        build_job(study, plan)
    plan = build_plan({"chip.tdp": ["500 W"]}, search=True)
    with pytest.raises(InputError, match="already a variable"):
        build_job(study, plan)
