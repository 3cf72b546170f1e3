"""``codesign pareto``: one small front, and everything that it leaves behind."""

import csv
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.app.runner import answer, interrupt_at, invoke

pytestmark = pytest.mark.slow

X, Y = "time_per_output_token", "energy_per_token_server"


@pytest.fixture(scope="module")
def folder(small_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("front") / "run"
    done = invoke("pareto", small_study, "--x", X, "--points", 4, "--out", out)
    assert done.exit_code == 0, done.stderr
    assert "tuned baseline" in done.stdout
    return out


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "front.json").read_text(encoding="utf-8"))


def test_designs_trade_one_metric_for_the_other(folder: Path):
    designs = read(folder)["designs"]
    assert len(designs) >= 3
    assert [d[X] for d in designs] == sorted(d[X] for d in designs)
    assert [d[Y] for d in designs] == sorted((d[Y] for d in designs), reverse=True)


def test_the_table_has_a_unit_for_every_column(folder: Path):
    data = read(folder)
    with (folder / "front.csv").open(encoding="utf-8", newline="") as stream:
        head, *rows = csv.reader(stream)
    assert head[:2] == [f"{Y} [J/token]", f"{X} [s/token]"]
    assert len(rows) == len(data["designs"])
    assert float(rows[0][1]) == data["designs"][0][X]


def test_a_design_of_the_front_can_be_evaluated(folder: Path):
    cost = answer("evaluate", folder / "designs" / "00.yaml")
    assert cost[X] == pytest.approx(read(folder)["designs"][0][X], rel=1e-6)


def test_the_page_shows_the_figure_and_the_command(folder: Path):
    page = (folder / "front.html").read_text(encoding="utf-8")
    assert 'id="figure-front"' in page
    assert f"--x {X}" in page


def test_limits_out_of_reach_are_answered(small_study: Path, tmp_path: Path):
    out = tmp_path / "run"
    tight = 'subject_to=["time_per_output_token <= 1 us"]'
    done = invoke(
        "pareto", small_study, "--x", "usd_per_token", "--set", tight, "--out", out
    )
    assert done.exit_code == 3, done.output
    for text in ("Infeasible", f"loosen {X} from 1 us", "What then binds: "):
        assert text in done.stderr
    data = read(out)
    assert data["designs"] == []
    assert data["relaxation"]["joint"][0]["metric"] == X
    cost = answer("evaluate", out / "designs" / "nearest.yaml")
    assert cost[X] <= data["relaxation"]["joint"][0]["new"] * (1 + 1e-5)
    assert not (out / "stages").exists()


def test_an_unknown_metric_is_bad_input(small_study: Path, tmp_path: Path):
    done = invoke("pareto", small_study, "--x", "tpot", "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert X in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_stopped_front_goes_on_to_the_same_one(
    folder: Path, small_study: Path, *, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, question = tmp_path / "run", ("--x", X, "--points", 4)
    command = importlib.import_module("codesign.app.pareto")
    with monkeypatch.context() as patch:
        patch.setattr(command, "progress_lines", lambda **_: interrupt_at("handed on"))
        done = invoke("pareto", small_study, *question, "--out", out)
    assert done.exit_code == 4, done.output
    assert f"codesign pareto {small_study} --x {X} --points 4" in done.stderr
    assert f"--resume {out}" in done.stderr
    assert [path.name for path in out.iterdir()] == ["stages"]
    done = invoke("pareto", small_study, *question, "--resume", out)
    assert done.exit_code == 0, done.output
    assert read(out)["designs"] == read(folder)["designs"]
    assert not (out / "stages").exists()


@pytest.mark.parametrize("name", ["pareto", "scenarios"])
def test_what_cannot_be_resumed_is_said(
    small_study: Path, *, name: str, tmp_path: Path
):
    text = small_study.read_text(encoding="utf-8")
    study = tmp_path / "robust.yaml"
    study.write_text(f"{text}robust: {{over: [stack]}}\n", encoding="utf-8")
    asked = [name, study, *(["--x", X] if name == "pareto" else [])]
    done = invoke(*asked, "--resume", tmp_path / "none")
    assert done.exit_code == 2
    assert "holds no finished stages" in done.stderr
    done = invoke(*asked, "--resume", tmp_path / "none", "--out", tmp_path / "other")
    assert done.exit_code == 2
    assert "leave --out away" in done.stderr
