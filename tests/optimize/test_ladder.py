"""Rungs: none worse than where it starts, each changing only what it may."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from codesign.config.study import Study
from codesign.core.paths import get_path
from codesign.cost.evaluate import evaluate
from codesign.optimize.ladder import ladder, optimize
from codesign.optimize.result import Result, Rung
from codesign.optimize.space import Floats, build_space
from codesign.optimize.trace import Progress
from tests.helpers import assert_trees_close
from tests.optimize.studies import limit, load_small

pytestmark = pytest.mark.slow

NAMES = ["as given", "tuned", "formats", "model", "hardware", "alternating", "joint"]
LEGAL = 1e-5
SLACK = 1 + 1e-6


@pytest.fixture(scope="module")
def rungs(climbed: Result) -> dict[str, Rung]:
    return {rung.name: rung for rung in climbed.rungs}


def changed(result: Result, rung: Rung) -> set[str]:
    """Free variables in which a rung differs from the baseline."""
    return {
        v.path
        for v in result.study.free
        if get_path(rung.design, v.path)
        != pytest.approx(get_path(result.study.baseline, v.path))
    }


def test_rungs_stand_in_order(climbed: Result):
    assert [rung.name for rung in climbed.rungs] == NAMES
    assert climbed.as_given.name == "as given"
    assert climbed.baseline.name == "tuned"
    assert climbed.best.name == "joint"


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("tuned", "as given"),
        ("formats", "tuned"),
        ("model", "tuned"),
        ("model", "formats"),
        ("hardware", "tuned"),
        ("alternating", "tuned"),
        *[("joint", name) for name in NAMES[1:-1]],
    ],
)
def test_no_rung_is_worse_than_its_start(
    rungs: dict[str, Rung], *, name: str, start: str
):
    assert rungs[name].feasible
    assert rungs[name].objective <= rungs[start].objective * SLACK


class Recorder:
    """Stands for a climber: a rung moves all that it may, and its start is noted."""

    def __init__(self, study: Study, _progress: Progress, **_: object) -> None:
        self.space = build_space(study)
        self.given = self.space.values_of(study.baseline)
        self.known: dict[str, Floats] = {}

    def as_given(self) -> SimpleNamespace:
        return SimpleNamespace(values=self.given)

    def tune(self, given: SimpleNamespace) -> SimpleNamespace:
        mask = self.space.select(("deployment.",))
        return self.climb("tuned", mask=mask, known=given.values[None])

    def climb(self, name: str, *, mask: np.ndarray, known: Floats) -> SimpleNamespace:
        self.known.setdefault(name, known)
        moved = known[-1] * (1.01 + 0.01 * len(self.known))
        return SimpleNamespace(name=name, values=np.where(mask, moved, known[-1]))


def test_each_rung_knows_the_earlier_designs_of_its_own_space(
    study: Study, monkeypatch: pytest.MonkeyPatch
):
    """A search holds what is not its own at what its known designs have there."""
    module = import_module("codesign.optimize.ladder")
    monkeypatch.setattr(module, "Climber", Recorder)
    monkeypatch.setattr(module, "_result", lambda climber, rungs, **_: (climber, rungs))
    climber, rungs = ladder(study)
    found = {rung.name: rung.values for rung in rungs[1:]}
    starts = {
        "formats": ["tuned"],
        "model": ["tuned", "formats"],
        "hardware": ["tuned"],
        "alternating": ["tuned"],
        "joint": NAMES[1:-1],
    }
    for name, before in starts.items():
        expected = np.stack([found[each] for each in before])
        np.testing.assert_array_equal(climber.known[name], expected, err_msg=name)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("as given", ()),
        ("tuned", ("deployment.",)),
        ("formats", ("deployment.", "model.weight_bits")),
        ("model", ("deployment.", "model.")),
        ("hardware", ("deployment.", "chip.")),
    ],
)
def test_rungs_change_only_what_they_may(
    climbed: Result, *, name: str, allowed: tuple[str, ...]
):
    (rung,) = [r for r in climbed.rungs if r.name == name]
    assert [p for p in changed(climbed, rung) if not p.startswith(allowed)] == []


def test_the_joint_rung_changes_chip_and_model(climbed: Result):
    groups = {path.partition(".")[0] for path in changed(climbed, climbed.best)}
    assert {"chip", "model"} <= groups


@pytest.mark.parametrize("name", NAMES)
def test_every_rung_is_what_evaluate_says(rungs: dict[str, Rung], name: str):
    rung = rungs[name]
    again = evaluate(rung.design)
    assert_trees_close(again, rung.cost, rtol=1e-9, atol=1e-12)
    assert float(again.energy_per_token_server) == pytest.approx(rung.objective)
    assert max(float(v) for v in vars(again.limits).values()) <= LEGAL
    assert max(float(v) for v in vars(rung.quality.validity).values()) <= LEGAL
    assert rung.violation <= LEGAL


def test_the_baseline_as_given_is_the_baseline(climbed: Result):
    given, baseline = climbed.as_given, climbed.study.baseline
    expected = evaluate(baseline)
    assert_trees_close(given.cost, expected, rtol=1e-9, atol=1e-12)
    assert float(given.quality.gap) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_searched_rung_has_a_relaxed_value(rungs: dict[str, Rung], name: str):
    """NaN where no relaxed start was feasible; infinity would be a gap of -100 %."""
    assert 0 <= rungs[name].agreement <= 1
    assert not np.isinf(rungs[name].relaxed)


def test_what_was_not_searched_has_no_relaxed_value(rungs: dict[str, Rung]):
    assert np.isnan(rungs["as given"].relaxed)
    assert np.isnan(rungs["as given"].agreement)


def test_the_status_is_a_sentence(climbed: Result):
    assert climbed.feasible
    assert climbed.status.startswith("All limits are kept")
    change = climbed.best.objective / climbed.baseline.objective - 1
    assert f"{change:+.1%}" in climbed.status


def test_limits_on_the_baseline_refer_to_the_tuned_one(tmp_path: Path):
    result = optimize(load_small(tmp_path, limit("chip.area", "0.97 * baseline")))
    assert [rung.name for rung in result.rungs] == ["as given", "tuned", "co-designed"]
    given, tuned, best = (rung.cost for rung in result.rungs)
    ratio = float(tuned.usd_per_token) / float(given.usd_per_token)
    assert ratio < 1 - 10 * LEGAL  # so that what is cheaper is told apart
    assert result.feasible, result.status
    assert float(best.usd_per_token) <= float(tuned.usd_per_token) * (1 + LEGAL)
    assert float(best.chip.area) <= 0.97 * float(tuned.chip.area) * (1 + LEGAL)


def test_an_impossible_limit_comes_with_its_smallest_relaxation(tmp_path: Path):
    """With the limit so loosened there is a design; 3 % tighter there is none."""
    result = optimize(load_small(tmp_path, limit("time_per_output_token", "1 ms")))
    assert not result.feasible
    assert result.status.startswith("Infeasible: no design keeps all limits")
    assert result.relaxation is not None
    assert "loosen time_per_output_token from 1 ms" in result.relaxation.text
    (alone,) = [
        each
        for each in result.relaxation.single
        if each.metric == "time_per_output_token"
    ]
    assert sum(each.amount for each in result.relaxation.joint) <= alone.amount + 1e-3
    assert result.evidence is not None
    wider, tighter = (
        optimize(
            load_small(
                tmp_path, limit("time_per_output_token", f"{share * alone.new} s")
            )
        )
        for share in (1.01, 0.97)
    )
    assert wider.feasible, wider.status
    assert not tighter.feasible, tighter.status


def test_an_impossible_quality_is_not_called_a_factor(tmp_path: Path):
    """A gap is a difference, so its relaxation is one as well."""
    result = optimize(load_small(tmp_path, limit("quality.gap", "-9")))
    assert not result.feasible
    assert result.relaxation is not None
    assert any(each.metric == "quality.gap" for each in result.relaxation.joint)
    assert "loosen quality.gap from −9" in result.status.replace("-9", "−9")
