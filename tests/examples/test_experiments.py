"""Every experiment runs in its small setting and writes the page it promises."""

import dataclasses
import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from codesign.config.quality import load_quality_draws
from codesign.config.study import load_study
from codesign.quality.ensemble import paired, reference_under
from codesign.quality.evaluate import quality
from experiments.common.ladder import (
    NAMES,
    Ladder,
    Step,
    quality_draws,
    question_of,
    store,
    stored,
)
from experiments.common.verdict import HALF, HOLDS, OPEN, WRONG
from tests.optimize.studies import quick_search

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*/run.py"))
LADDER = ROOT / "experiments" / "01_joint_design"


@cache
def module(path: Path) -> ModuleType:
    """The experiment's script, loaded without running it."""
    spec = importlib.util.spec_from_file_location(f"run_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="session")
def small_ladder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The small run of the ladder and the folder of its page."""
    folder = tmp_path_factory.mktemp("ladder")
    with quick_search():
        run = module(LADDER / "run.py").run_experiment(
            ["--small", "--out", str(folder)]
        )
    return run, folder


CLAIM_RUNS = [path for path in EXPERIMENTS if path.parent != LADDER]


@pytest.mark.parametrize("script", CLAIM_RUNS, ids=lambda path: path.parent.name)
def test_small_run_judges_its_claims_and_writes_its_page(script: Path, tmp_path: Path):
    run = module(script).run_experiment(["--small", "--out", str(tmp_path)])
    check_small_page(run, tmp_path)


def test_small_ladder_judges_its_claim_and_writes_its_page(
    small_ladder: tuple[Any, Path],
):
    check_small_page(*small_ladder)


def check_small_page(run: Any, folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert run.claims
    for number, word in run.claims.items():
        assert f"**Claim {number}: {word}.**" in text
        assert word in {HOLDS, HALF, WRONG, OPEN}
    assert "--small" in text
    assert not re.search(r"\bnan\b|\binf\b|None", text)
    pictures = re.findall(r"!\[[^\]]*\]\((\w+)\.svg\)", text)
    assert pictures == list(dict.fromkeys(pictures))
    assert set(pictures) == set(run.figures)
    for name in (*pictures, "thumbnail"):
        ElementTree.fromstring((folder / f"{name}.svg").read_text())  # noqa: S314


@pytest.mark.parametrize("script", EXPERIMENTS, ids=lambda path: path.parent.name)
def test_committed_page_is_that_of_the_full_run(script: Path):
    text = (script.parent / "README.md").read_text(encoding="utf-8")
    assert "--small" not in text.split("## Run again")[0]
    assert f"`{module(script).COMMAND}` took" in text.replace("\n", " ")
    assert all(len(x) <= 100 or x.startswith(("|", "`")) for x in text.splitlines())


def test_index_is_written_by_the_gallery_and_has_every_claim():
    gallery = module(ROOT / "experiments" / "gallery.py")
    index = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    assert index == gallery.page()
    assert re.findall(r"^\| (\d+)\. ", index, re.MULTILINE) == [
        str(number) for number in range(1, 26)
    ]


@pytest.mark.parametrize("script", EXPERIMENTS, ids=lambda path: path.parent.name)
def test_experiment_has_study_page_and_line_in_the_index(script: Path):
    folder = script.parent
    study = load_study(folder / "study.yaml")
    assert study.name
    assert (folder / "README.md").is_file()
    index = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    assert f"{folder.name}/README.md" in index
    assert f"python experiments/{folder.name}/run.py" == module(script).COMMAND


def test_ladder_study_is_the_shipped_one_with_other_starts():
    mine, shipped = load_study(LADDER / "study.yaml"), load_study("joint_chat")
    assert mine.free == shipped.free
    assert mine.limits == shipped.limits
    assert mine.minimize == shipped.minimize
    assert mine.baseline_text == shipped.baseline_text
    assert mine.tune == shipped.tune


def climbed(folder: Path) -> Ladder:
    """What the small run stored."""
    [path] = (folder / "results").glob("*.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    return Ladder(**{**data, "steps": [Step(**step) for step in data["steps"]]})


def test_every_contender_is_legal_and_no_worse_than_tuned(
    small_ladder: tuple[Any, Path],
):
    found = climbed(small_ladder[1])
    assert [step.name for step in found.steps] == list(NAMES)
    tuned = found.step("tuned").objective
    for step in found.steps[1:]:
        assert step.feasible, step.name
        assert step.objective <= tuned * (1 + 1e-6), step.name
        assert found.best.objective <= step.objective
    assert 0 <= found.gain("hardware") <= found.gain("joint") < 1
    assert found.gain("model") <= found.gain("joint")


def test_contenders_change_only_what_they_may(small_ladder: tuple[Any, Path]):
    found = climbed(small_ladder[1])
    tuned = found.step("tuned").values
    for name, held in (("model", "chip."), ("hardware", "model.")):
        values = found.step(name).values
        for path in values:
            if path.startswith(held):
                assert values[path] == pytest.approx(tuned[path], rel=1e-9), path


def test_draws_are_paired_and_joint_design_never_loses(
    small_ladder: tuple[Any, Path],
):
    found = climbed(small_ladder[1]).again["all constants"]
    assert len({len(values) for values in found.values()}) == 1
    for values in found.values():
        assert np.all(np.array(found["joint"]) <= np.array(values) + 1e-12)
        assert np.ptp(values) > 0


def test_shares_of_the_waterfall_add_up_to_the_gain(small_ladder: tuple[Any, Path]):
    found = climbed(small_ladder[1])
    fall = found.waterfall
    assert fall is not None
    total = sum(fall["shares"]) + fall["rounding"]
    assert np.expm1(total) == pytest.approx(-found.gain("joint"), abs=1e-6)


def test_a_stored_ladder_answers_its_own_question_only(
    small_ladder: tuple[Any, Path], tmp_path: Path
):
    study, found = load_study(LADDER / "study.yaml"), climbed(small_ladder[1])
    mine = dataclasses.replace(found, question=question_of(study))
    store(mine, tmp_path / "mine.json")
    assert stored(tmp_path / "mine.json", study) == mine
    other = load_study(LADDER / "study.yaml", overrides=["baseline.batch=32"])
    assert stored(tmp_path / "mine.json", other) is None
    assert stored(tmp_path / "none.json", study) is None


def test_the_page_rests_on_stored_ladders_of_its_studies():
    run = module(LADDER / "run.py")
    for market in run.MARKETS:
        file = "study.yaml" if market == "chat" else f"markets/{market}.yaml"
        for minimize in run.OBJECTIVES:
            study = load_study(LADDER / file, overrides=[f"minimize={minimize}"])
            found = stored(LADDER / "results" / f"{market}_{minimize}.json", study)
            assert found is not None, (market, minimize)
            assert found.again, (market, minimize)


def test_a_draw_of_quality_is_that_of_the_ensemble():
    study = load_study(LADDER / "study.yaml")
    model = study.baseline.model
    smaller = model.replace(num_layers=0.8 * model.num_layers)
    known = reference_under(load_quality_draws(count=2), model)
    expected = np.asarray(paired(smaller, known).gap)
    gaps = [
        float(quality(smaller, reference=model, constants=each).gap)
        for each in quality_draws(study, count=2)
    ]
    np.testing.assert_allclose(gaps, expected, rtol=1e-9)
