"""``codesign scenarios``: what it answers, writes, and refuses."""

import json
from pathlib import Path

import pytest

from tests.app.runner import answer, invoke

SECTIONS = """
robust: {over: [stack], draws: 4, limits: 0.75}
"""


@pytest.mark.slow
def test_designs_and_probabilities_are_written(small_study: Path, tmp_path: Path):
    file = tmp_path / "robust.yaml"
    text = small_study.read_text(encoding="utf-8")
    file.write_text(text + SECTIONS, encoding="utf-8")
    out = tmp_path / "run"
    done = invoke("scenarios", file, "--out", out)
    assert done.exit_code in {0, 3}, done.stderr
    data = json.loads((out / "scenarios.json").read_text(encoding="utf-8"))
    kept = data["robust"]["robust"]["kept"]
    assert 0.0 <= min(kept.values()) <= max(kept.values()) <= 1.0
    assert "all limits" in done.stdout
    cost = answer("evaluate", out / "designs" / "robust-robust.yaml")
    assert cost["time_per_output_token"] > 0


def test_a_study_without_sections_is_bad_input(small_study: Path, tmp_path: Path):
    done = invoke("scenarios", small_study, "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "scenarios, split and robust" in done.stderr
