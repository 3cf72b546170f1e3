"""A search that was stopped between stages ends like one that was not."""

from pathlib import Path

import numpy as np
import pytest

from codesign.core.errors import InputError
from codesign.optimize.checkpoint import Checkpoint, Kept
from codesign.optimize.search import Found, Search
from tests.optimize.studies import Small, StoppedError, quick_search

STAGES, STARTS = 7, 48  # three looks


def run(
    small: Small, folder: Path | None, *, stop_after: int = STAGES, about: str = "same"
) -> Found:
    climber = small.climber
    mask = small.mask("deployment.batch", "model.num_layers", "chip.dram.bandwidth")
    search = Search(
        climber.engine,
        small.theta(),
        mask,
        np.random.default_rng(3),
        checkpoint=None if folder is None else Checkpoint(folder, about=about),
        name="1-test",
    )
    seen = 0

    def tell(line: str) -> None:
        nonlocal seen
        seen += "best" in line
        if seen > stop_after:
            raise StoppedError

    return search.run(small.tuned.values[None], starts=STARTS, progress=tell)


@pytest.fixture(scope="module")
def whole(small: Small) -> Found:
    with quick_search():
        return run(small, None)


@pytest.mark.parametrize("stop_after", [1, 3, 5, 6])
def test_the_answer_is_the_same_to_the_last_bit(
    small: Small, whole: Found, *, stop_after: int, tmp_path: Path
):
    with pytest.raises(StoppedError):
        run(small, tmp_path, stop_after=stop_after)
    assert [path.name for path in tmp_path.iterdir()] == ["1-test.npz"]
    again = run(small, tmp_path)
    for name in ("values", "objective", "violation", "excess"):
        ours, theirs = getattr(again.pool, name), getattr(whole.pool, name)
        assert ours.tobytes() == theirs.tobytes(), name
    assert again.relaxed == whole.relaxed
    assert again.agreement == whole.agreement
    assert [(e["stage"], e["best"]) for e in again.trace] == [
        (e["stage"], e["best"]) for e in whole.trace
    ]
    seconds = [entry["seconds"] for entry in again.trace]
    assert seconds == sorted(seconds)


def test_a_finished_search_is_not_run_again(
    small: Small, whole: Found, *, tmp_path: Path
):
    run(small, tmp_path)
    again = run(small, tmp_path, stop_after=0)
    assert again.pool.values.tobytes() == whole.pool.values.tobytes()


def test_states_of_another_question_are_refused(small: Small, tmp_path: Path):
    with pytest.raises(StoppedError):
        run(small, tmp_path, stop_after=1)
    with pytest.raises(InputError, match="another study, seed or version"):
        run(small, tmp_path, about="other")


def test_states_of_a_larger_question_stand_apart(tmp_path: Path):
    kept = Checkpoint(tmp_path, about="a")
    first, again, other = (
        kept.about_more({"points": n}, arrays=[np.arange(n)]) for n in (3, 3, 4)
    )
    first.keep("front", Kept({}, {"n": 1}))
    assert again.recall("front") is not None
    for each in (kept, other):
        with pytest.raises(InputError, match="another study, seed or version"):
            each.recall("front")


def test_a_damaged_state_is_as_good_as_none(tmp_path: Path):
    kept = Checkpoint(tmp_path, about="a")
    kept.keep("one", Kept({"x": np.array([0.1, np.inf, np.nan])}, {"n": 1}))
    state = kept.recall("one")
    assert state is not None
    assert state.arrays["x"].tobytes() == np.array([0.1, np.inf, np.nan]).tobytes()
    assert state.facts == {"n": 1}
    path = tmp_path / "one.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert kept.recall("one") is None
    assert kept.recall("two") is None
