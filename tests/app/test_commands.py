"""The smaller commands: presets, init, doctor, validate, sweep, sensitivity."""

import csv
import json
from pathlib import Path

import pytest

from codesign.config.catalogue import list_presets
from codesign.config.kinds import KINDS
from codesign.config.study import load_study
from tests.app.runner import DESIGN, answer, invoke


def test_presets_lists_every_kind():
    data = answer("presets")
    assert {kind: sorted(data[kind]) for kind in KINDS} == {
        kind: list_presets(kind) for kind in KINDS
    }
    assert "H100" in data["chips"]["h100-sxm"]["aliases"]
    assert "h100-sxm" in invoke("presets", "chips").stdout
    assert "h100-sxm" not in invoke("presets", "list", "models").stdout


@pytest.mark.parametrize("words", [("show", "H100"), ("chips", "h100-sxm"), ("H100",)])
def test_chip_preset_shows_value_unit_source_and_anchor(words: tuple[str, ...]):
    data = answer("presets", *words)
    bandwidth = data["values"]["parameters.dram_bandwidth"]
    assert (bandwidth["value"], bandwidth["unit"]) == (3.35e12, "B/s")
    assert bandwidth["source"]
    assert bandwidth["confidence"]
    assert data["residuals"]["area"] != 0
    shown = invoke("presets", *words).stdout
    assert "3.35 TB/s" in shown
    assert "ln(published / derived)" in shown


@pytest.mark.parametrize("kind", ["chips", "models", "stacks", "technology"])
def test_every_preset_can_be_shown(kind: str):
    for name in list_presets(kind):
        assert answer("presets", kind, name)["values"]


def test_study_preset_is_its_text(tmp_path: Path):
    file = tmp_path / "study.yaml"
    file.write_text(invoke("presets", "show", "joint_chat").stdout, encoding="utf-8")
    assert load_study(file).name == "joint-chat"


def test_unknown_preset_names_the_nearest():
    done = invoke("presets", "show", "h10O")
    assert done.exit_code == 2
    assert "H100" in done.stderr


def test_init_writes_a_study_once(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    assert invoke("init", file).exit_code == 0
    assert load_study(file).free
    again = invoke("init", file)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert invoke("init", file, "--force").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_init_into_no_folder_is_bad_input(tmp_path: Path):
    done = invoke("init", tmp_path / "none" / "mine.yaml")
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr


def test_doctor_finds_this_machine_fit():
    data = answer("doctor")
    assert all(data["checks"].values())
    assert data["presets"]["chips"] >= 1
    assert "cache" in invoke("doctor").stdout


def test_sweep_table_json_and_csv(tmp_path: Path):
    file = tmp_path / "sweep.csv"
    grid = ["--along=chip.dram.bandwidth", "--values=2 TB/s, 3.35 TB/s, 5 TB/s"]
    data = answer("sweep", *DESIGN, *grid, "--out", file)
    assert data["values"] == [2e12, 3.35e12, 5e12]
    times = [cost["time_per_output_token"] for cost in data["costs"]]
    assert times == sorted(times, reverse=True)
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[1]["chip.dram.bandwidth [B/s]"]) == 3.35e12
    assert float(rows[1]["time_per_output_token [s/token]"]) == times[1]
    assert rows[1]["model"] == "llama-3-70b"
    assert "system.outer_bandwidth recalled" in rows[1]["unsure"]
    assert data["unsure"]["system.outer_bandwidth"]["status"] == "recalled"
    assert float(rows[1]["request.output_length [token]"]) == 256
    shown = invoke("sweep", *DESIGN, *grid, "--metric=power").stdout
    assert "3.35 TB/s" in shown


def test_sweep_over_a_range_marks_broken_limits():
    grid = ["--along=deployment.batch", "--from=64", "--to=4096", "--points=3", "--log"]
    data = answer("sweep", *DESIGN, *grid)
    assert data["values"] == pytest.approx([64, 512, 4096])
    assert [list(cost["violated"]) for cost in data["costs"]] == [[], [], ["memory"]]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--along=chip.dram.bandwith", "--values=1 TB/s"], "chip.dram.bandwidth"),
        (["--along=chip.tdp", "--values=500"], "needs a unit"),
        (["--along=chip.tdp"], "--values"),
        (["--along=chip.tdp", "--from=900 W", "--to=500 W"], "Swapped?"),
        (["--along=deployment.tensor_parallel", "--values=1, 3"], "divide"),
        (
            ["--along=chip.tdp", "--values=500 W", "--metric=power_servr"],
            "power_server",
        ),
    ],
)
def test_bad_sweep_is_explained(flags: list[str], text: str):
    done = invoke("sweep", *DESIGN, *flags)
    assert done.exit_code == 2, done.output
    assert text in done.stderr


def test_sensitivity_prints_elasticities():
    flags = ["--of=time_per_output_token", "--wrt=chip.dram"]
    data = answer("sensitivity", *DESIGN, *flags)
    assert data["elasticities"]["chip.dram.bandwidth"] < -0.1
    assert "chip.dram.bandwidth" in invoke("sensitivity", *DESIGN, *flags).stdout


def test_validate_scores_measured_rows(shared_data: Path, tmp_path: Path):
    lines = (shared_data / "serving.csv").read_text(encoding="utf-8").splitlines()
    rows = tmp_path / "rows.csv"
    rows.write_text("\n".join(lines[:12]) + "\n", encoding="utf-8")
    out = tmp_path / "predictions.csv"
    files = ["--rows", rows, "--models", shared_data / "models.csv"]
    data = answer("validate", *files, "--predictions", out)
    assert data["rows"] + len(data["faults"]) == 11
    assert data["groups"]
    with out.open(encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 11
    assert "MAPE" in invoke("validate", *files).stdout


def test_json_is_json_for_values_that_are_not_finite():
    from codesign.app.output import json_text

    assert json.loads(json_text({"a": [float("nan"), 1.0]})) == {"a": [None, 1.0]}
