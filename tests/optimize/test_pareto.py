"""A front of the small study: legal, ordered, its ends those of single searches."""

from pathlib import Path

import numpy as np
import pytest

from codesign.config.study import Study
from codesign.core.errors import InputError
from codesign.cost.evaluate import evaluate
from codesign.optimize.front import non_dominated
from codesign.optimize.ladder import optimize
from codesign.optimize.pareto import Front, pareto
from codesign.optimize.result import Result
from codesign.report.front import plot_front, write_front
from tests.optimize.studies import (
    StoppedError,
    limit,
    load_small,
    quick_search,
    stop_at,
    without_numbers,
)

pytestmark = pytest.mark.slow

LEGAL = 1e-5
X, Y = "time_per_output_token", "energy_per_token_server"


@pytest.fixture(scope="module")
def front(study: Study) -> Front:
    with quick_search():
        return pareto(study, x=X, points=6)


def test_the_objective_of_the_study_is_one_axis(front: Front):
    assert front.metrics == (Y, X)
    assert front.values.shape == (len(front.rungs), 2)
    assert len(front.rungs) >= 4


def test_more_of_one_metric_is_less_of_the_other(front: Front):
    assert (np.diff(front.values[:, 1]) > 0).all()
    assert (np.diff(front.values[:, 0]) < 0).all()
    assert non_dominated(front.values).all()
    apart = np.abs(np.diff(np.log(front.values), axis=0)).max(axis=1)
    assert (apart > 1e-4).all(), "one design stands on the front twice"


def test_every_design_is_legal_and_what_evaluate_says(front: Front):
    for rung, (energy, time) in zip(front.rungs, front.values, strict=True):
        assert rung.violation <= LEGAL
        cost = evaluate(rung.design)
        assert float(cost.energy_per_token_server) == pytest.approx(energy, rel=1e-6)
        assert float(cost.time_per_output_token) == pytest.approx(time, rel=1e-6)
        assert time <= 30e-3 * (1 + LEGAL)


def test_the_best_end_is_that_of_a_single_search(front: Front, climbed: Result):
    assert front.values[:, 0].min() == pytest.approx(climbed.best.objective, rel=0.02)


def test_a_design_between_the_ends_is_that_of_a_single_search(
    front: Front, tmp_path: Path
):
    """Families that only the middle of a front has are found there too."""
    energy, time = front.values[len(front.values) // 2]
    study = load_small(tmp_path, limit("time_per_output_token", f"{time} s"))
    with quick_search():
        alone = optimize(study)
    assert alone.feasible
    assert energy <= 1.03 * alone.best.objective


def test_the_front_dominates_a_volume(front: Front):
    spans = np.log(front.values[0] / front.values[-1])
    assert 0 < front.hypervolume < abs(spans[0] * spans[1])


def test_one_metric_cannot_stand_against_itself(study: Study):
    with pytest.raises(InputError, match="different"):
        pareto(study, x=Y)


def test_where_the_vocabulary_is_free_tokens_are_no_measure(tmp_path: Path):
    study = load_small(
        tmp_path,
        "free.model.vocab_size.min=32000",
        "free.model.vocab_size.max=256000",
        "free.model.vocab_size.multiple_of=256",
        "minimize=energy_per_byte_server",
        "subject_to=[quality.gap <= 0]",
    )
    with pytest.raises(InputError, match="usd_per_byte"):
        pareto(study, x="usd_per_token")


def test_an_unknown_metric_is_named_with_the_nearest(study: Study):
    with pytest.raises(InputError, match="time_per_output_token"):
        pareto(study, x="time_per_output_tokn")


GAP = "quality.gap"


@pytest.fixture(scope="module")
def against_quality(tmp_path_factory: pytest.TempPathFactory) -> Front:
    folder = tmp_path_factory.mktemp("quality")
    study = load_small(folder, limit(GAP, "0.05"))
    with quick_search():
        return pareto(study, x=GAP, points=6)


def test_quality_is_traded_as_a_difference(against_quality: Front):
    front = against_quality
    gaps = front.values[:, 1]
    assert len(front.rungs) >= 4
    assert (np.diff(gaps) > 0).all()
    assert (np.diff(front.values[:, 0]) < 0).all()
    assert gaps.min() < 0.0 < gaps.max() <= 0.05 + LEGAL
    for rung, gap in zip(front.rungs, gaps, strict=True):
        assert float(rung.quality.gap) == pytest.approx(gap, abs=1e-9)


def test_a_better_model_takes_more_joules(against_quality: Front):
    better, worse = against_quality.values[0], against_quality.values[-1]
    assert better[0] > 1.1 * worse[0]
    assert (
        0
        < against_quality.hypervolume
        < np.log(better[0] / worse[0]) * (worse[1] - better[1])
    )


def test_a_front_with_quality_has_a_page(against_quality: Front, tmp_path: Path):
    write_front(against_quality, tmp_path / "front.html", command="codesign pareto")
    assert "quality" in (tmp_path / "front.html").read_text(encoding="utf-8")
    axis = plot_front(against_quality).layout.xaxis
    assert axis.type == "linear"


@pytest.mark.parametrize("name", ["throughput", "quality.mmlu", "accuracy"])
def test_metrics_that_should_grow_are_not_minimised(study: Study, name: str):
    with pytest.raises(InputError, match=f"more of {name} is better; minimise"):
        pareto(study, x=name)


def test_signed_metrics_are_no_objective(study: Study):
    with pytest.raises(InputError, match="negative or zero"):
        pareto(study, x=X, y=GAP)


@pytest.fixture(scope="module")
def impossible(tmp_path_factory: pytest.TempPathFactory) -> Front:
    folder = tmp_path_factory.mktemp("impossible")
    study = load_small(folder, limit(X, "1 ms"), "search.starts=16")
    with quick_search():
        return pareto(study, x="usd_per_token", points=4)


def test_a_front_without_designs_says_what_to_change(impossible: Front):
    assert not impossible.feasible
    assert impossible.rungs == ()
    assert impossible.relaxation is not None
    loosened = {each.metric: each for each in impossible.relaxation.joint}
    assert loosened[X].new > loosened[X].old == pytest.approx(1e-3)
    assert f"loosen {X} from 1 ms" in impossible.status
    assert "Infeasible: no design keeps all limits" in str(impossible)


def test_the_design_shown_is_the_one_that_the_change_allows(impossible: Front):
    assert impossible.nearest is not None
    assert impossible.relaxation is not None
    time = float(impossible.nearest.cost.time_per_output_token)
    new = {each.metric: each.new for each in impossible.relaxation.joint}
    assert 1e-3 < time <= new[X] * (1 + LEGAL)


def test_a_front_without_designs_has_a_page(impossible: Front, tmp_path: Path):
    write_front(impossible, tmp_path / "front.html", command="codesign pareto")
    page = (tmp_path / "front.html").read_text(encoding="utf-8")
    assert f"loosen {X} from 1 ms" in page


@pytest.mark.parametrize("stage", ["integers", "handed on"])
def test_a_front_that_was_stopped_is_the_same(
    front: Front, study: Study, *, stage: str, tmp_path: Path
):
    last = 4 if stage == "integers" else 1  # after tuned and both ends
    with pytest.raises(StoppedError):
        pareto(
            study,
            x=X,
            points=6,
            progress=stop_at(stage, times=last),
            checkpoint=tmp_path,
        )
    lines: list[str] = []
    again = pareto(study, x=X, points=6, progress=lines.append, checkpoint=tmp_path)
    assert sum("finished before" in line for line in lines) >= 3
    assert again.values.tobytes() == front.values.tobytes()


def test_designs_without_a_number_are_left_out_counted_and_kept(study: Study):
    with without_numbers(above=100.0):
        found = pareto(study, x=X, points=4)
    assert found.feasible
    assert found.lost.count > 0
    assert f"{found.lost.count} lanes had no number" in found.status
    assert max(lane["deployment.batch"] for lane in found.lost.designs) > 100
    assert all(float(r.design.deployment.batch) <= 100 for r in found.rungs)
