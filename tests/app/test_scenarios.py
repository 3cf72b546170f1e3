"""``codesign scenarios``: what it answers, writes, and refuses."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.app.runner import answer, interrupt_at, invoke

SECTIONS = """
robust: {over: [stack], draws: 4, limits: 0.75}
"""


@pytest.fixture(scope="module")
def uncertain(small_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("robust") / "robust.yaml"
    text = small_study.read_text(encoding="utf-8")
    file.write_text(text + SECTIONS, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def folder(uncertain: Path) -> Path:
    out = uncertain.parent / "run"
    done = invoke("scenarios", uncertain, "--out", out)
    assert done.exit_code in {0, 3}, done.stderr
    assert "all limits" in done.stdout
    return out


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "scenarios.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_designs_and_probabilities_are_written(folder: Path):
    kept = read(folder)["robust"]["robust"]["kept"]
    assert 0.0 <= min(kept.values()) <= max(kept.values()) <= 1.0
    cost = answer("evaluate", folder / "designs" / "robust-robust.yaml")
    assert cost["time_per_output_token"] > 0


@pytest.mark.slow
def test_a_stopped_search_goes_on_to_the_same_answer(
    folder: Path, uncertain: Path, *, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "run"
    command = importlib.import_module("codesign.app.scenarios")
    with monkeypatch.context() as patch:
        patch.setattr(command, "progress_lines", lambda **_: interrupt_at("polish"))
        done = invoke("scenarios", uncertain, "--out", out)
    assert done.exit_code == 4, done.output
    assert f"codesign scenarios {uncertain} --resume {out}" in done.stderr
    assert [path.name for path in out.iterdir()] == ["stages"]
    done = invoke("scenarios", uncertain, "--resume", out)
    assert done.exit_code in {0, 3}, done.output
    assert read(out)["robust"] == read(folder)["robust"]
    assert not (out / "stages").exists()


def test_a_study_without_sections_is_bad_input(small_study: Path, tmp_path: Path):
    done = invoke("scenarios", small_study, "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "scenarios, split and robust" in done.stderr
