"""Every experiment runs in its small setting and writes the page it promises."""

import importlib.util
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from codesign.config.study import load_study
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
def ladder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The small ladder and the folder of its page."""
    folder = tmp_path_factory.mktemp("ladder")
    with quick_search():
        found = module(LADDER / "run.py").main(["--small", "--out", str(folder)])
    return found, folder


CLAIM_RUNS = [path for path in EXPERIMENTS if path.parent != LADDER]


@pytest.mark.parametrize("script", CLAIM_RUNS, ids=lambda path: path.parent.name)
def test_small_run_judges_its_claims_and_writes_its_page(script: Path, tmp_path: Path):
    run = module(script).run_experiment(["--small", "--out", str(tmp_path)])
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
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
        ElementTree.fromstring((tmp_path / f"{name}.svg").read_text())  # noqa: S314


@pytest.mark.parametrize("script", CLAIM_RUNS, ids=lambda path: path.parent.name)
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


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ .*$", text, re.MULTILINE)


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


def test_small_ladder_writes_its_page(ladder: tuple[Any, Path]):
    found, folder = ladder
    assert {path.name for path in folder.iterdir()} == {"README.md", "ladder.svg"}
    text = (folder / "README.md").read_text(encoding="utf-8")
    first = re.split(r"(?<=\.) ", text.split("\n\n")[1])[0]
    assert "No verdict is given" in first.replace("\n", " ")
    assert "--small" in text
    for word in ("nan", "inf ", "None", "e+", "e-0"):
        assert word not in text
    for rung in found.rungs:
        assert text.count(f"| {rung.name} |") >= 2
        assert f"**{rung.name}**" in text or rung.name == "as given"
    assert all(len(x) <= 100 or x.startswith("|") for x in text.splitlines())


def test_ladder_page_shows_what_the_run_found(ladder: tuple[Any, Path]):
    found, folder = ladder
    text = (folder / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w, ]+?) \| ([\d.]+) \| ([−+±]\d+)", text, re.MULTILINE)
    assert [name for name, _, _ in rows] == [rung.name for rung in found.rungs]
    tuned = found.result.baseline.objective
    scale = float(rows[1][1]) / tuned
    for (_, value, percent), rung in zip(rows, found.rungs, strict=True):
        assert float(value) == pytest.approx(scale * rung.objective, rel=0.06)
        share = float(percent.replace("−", "-").replace("±", ""))
        assert share == pytest.approx(100 * (rung.objective / tuned - 1), abs=0.6)


def test_ladder_rungs_are_feasible_and_in_order(ladder: tuple[Any, Path]):
    found, _ = ladder
    best = {rung.name: rung.objective for rung in found.rungs}
    assert all(rung.feasible for rung in found.rungs)
    for name in ("formats", "model", "hardware", "alternating", "joint, alone"):
        assert best[name] <= best["tuned"] * (1 + 1e-6)
    for name in ("formats", "model", "hardware", "alternating"):
        assert best["joint"] <= best[name] * (1 + 1e-6)


def test_ladder_figure_is_valid_svg_without_links(ladder: tuple[Any, Path]):
    found, folder = ladder
    text = (folder / "ladder.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)  # noqa: S314  written by this test
    labels = [e.text for e in root.iter() if e.tag.endswith("text")]
    assert {rung.name for rung in found.rungs} <= set(labels)
    assert "href" not in text


def test_committed_ladder_page_is_that_of_the_full_run(ladder: tuple[Any, Path]):
    _, folder = ladder
    committed = (LADDER / "README.md").read_text(encoding="utf-8")
    small = (folder / "README.md").read_text(encoding="utf-8")
    assert headings(committed) == headings(small)
    assert "--small" not in committed
    starts = load_study(LADDER / "study.yaml").search.starts
    assert f"A search is {starts} starts" in committed.replace("\n", " ")
