"""``codesign grad-check``: exact slopes against small steps, and what if not."""

import json
from dataclasses import replace

import numpy as np
import pytest

from codesign.config.study import load_study
from codesign.optimize import gradcheck
from codesign.optimize.gradcheck import GradCheck, check_gradients
from tests.app.runner import answer, invoke


@pytest.fixture(scope="module")
def checked() -> GradCheck:
    return check_gradients(load_study("joint_chat"), points=2, seed=3)


@pytest.fixture(autouse=True)
def once(checked: GradCheck, monkeypatch: pytest.MonkeyPatch):
    """The commands show what was computed once."""
    monkeypatch.setattr(gradcheck, "check_gradients", lambda *_, **__: checked)


def test_slopes_of_the_shipped_study_are_exact(checked: GradCheck):
    assert not checked.wrong.any()
    assert np.isfinite(checked.exact).all()
    assert not checked.corner[1:].any(), "random points lie off the corners"
    assert checked.functions[0] == "objective"
    study = load_study("joint_chat")
    assert {v.path for v in study.free} < set(checked.paths)
    moved = np.abs(checked.exact).max(axis=(0, 1))
    assert (moved > 0).all(), "a variable that moves nothing"


def test_slopes_are_elasticities_of_the_objective(checked: GradCheck):
    """More power allowed, more bandwidth: signs that physics knows."""
    at = dict(zip(checked.paths, checked.exact[0, 0], strict=True))
    assert at["model.num_layers"] > 0.5
    assert at["deployment.batch"] < 0


def test_command_shows_every_variable(checked: GradCheck):
    done = invoke("grad-check", "joint_chat", "--quiet")
    assert done.exit_code == 0, done.output
    assert all(path in done.stdout for path in checked.paths)
    data = answer("grad-check", "joint_chat", "--points", 2)
    assert data["wrong"] == []
    assert data["slopes"] == checked.exact.size
    assert set(data["variables"]) == set(checked.paths)


@pytest.mark.parametrize("value", [np.nan, 3.0])
def test_a_wrong_slope_is_named(
    checked: GradCheck, monkeypatch: pytest.MonkeyPatch, *, value: float
):
    exact = checked.exact.copy()
    exact[1, 2, 3] = value
    broken = replace(checked, exact=exact)
    monkeypatch.setattr(gradcheck, "check_gradients", lambda *_, **__: broken)
    done = invoke("grad-check", "joint_chat", "--json")
    assert done.exit_code == 1
    assert "1 slopes differ" in done.stderr
    (wrong,) = json.loads(done.stdout)["wrong"]
    assert wrong["variable"] == checked.paths[3]
    assert wrong["function"] == checked.functions[2]
    assert wrong["point"] == 1
