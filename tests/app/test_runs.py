"""Runs on the command line: sweep, resume, parts, merge, list, query, rerun."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codesign.app.progress import Lines, event_text
from codesign.study.shard_work import worker_settings
from tests.app.runner import Searched, answer, invoke

SWEPT = """\
name: swept
baseline: {chip: h100-sxm, model: llama-3-8b, batch: 64}
request: {prompt_length: 1024, output_length: 256}
sweep:
  over:
    deployment.batch: [16, 64, 256]
    chip.dram.bandwidth: {min: 2 TB/s, max: 5 TB/s, points: 20}
"""
METRIC = ("--metric", "power")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept")
    (folder / "swept.yaml").write_text(SWEPT, encoding="utf-8")
    study = folder / "swept.yaml"
    done = invoke(
        "sweep", study, *METRIC, "--out", folder / "runs" / "a", "--shard-size", 10
    )
    assert done.exit_code == 0, done.output
    assert "60 points in 6 shards" in done.stderr
    assert "computed 6 shards, reused 0" in done.stderr
    return folder


def test_folder_holds_the_run(swept: Path):
    names = {path.name for path in (swept / "runs" / "a").iterdir()}
    assert {
        "study.yaml",
        "resolved.yaml",
        "design.yaml",
        "job.json",
        "manifest.json",
        "log.jsonl",
        "shards",
        "best.yaml",
        "report.html",
    } <= names
    manifest = (swept / "runs" / "a" / "manifest.json").read_text(encoding="utf-8")
    data = json.loads(manifest)
    assert data["argv"][:2] == ["sweep", "swept.yaml"]
    assert {"python", "codesign", "jax", "code"} <= data["versions"].keys()
    assert data["units"]["power"] == "W"
    best = answer("evaluate", swept / "runs" / "a" / "best.yaml")
    name = "energy_per_token_server"
    assert best[name] == pytest.approx(data["best"][name], rel=1e-9)


def test_the_page_of_a_sweep_is_written_again(swept: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    told = answer("report", swept / "runs" / "a", "--out", page)
    assert told["report"] == str(page)
    kept = swept / "runs" / "a" / "report.html"
    assert page.read_bytes() == kept.read_bytes()
    done = invoke("report", swept / "runs" / "a", "--front", tmp_path)
    assert done.exit_code == 2
    assert "its page has a front" in done.stderr


def test_parts_are_resumed_and_merged(swept: Path):
    study, whole = swept / "swept.yaml", swept / "runs" / "b"
    flags = [*METRIC, "--out", whole, "--shard-size", 10]
    done = invoke("sweep", study, *flags, "--shard", "1/3", "--json")
    assert done.exit_code == 0, done.output
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [e["event"] for e in events] == ["start", "shard", "shard", "computed"]
    assert json.loads(done.stdout)["status"] == "2 of 6 shards"
    lacking = invoke("merge", whole)
    assert lacking.exit_code == 2
    assert "4 of 6 shards are missing" in lacking.stderr
    changed = invoke("sweep", study, *METRIC, "--set=chip.tdp=500 W", "--resume", whole)
    assert changed.exit_code == 2
    assert "baseline.chip.tdp 700.0 -> 500.0" in changed.stderr
    done = invoke("sweep", study, *METRIC, "--resume", whole)
    assert "computed 4 shards, reused 2" in done.stderr
    assert answer("merge", whole)["status"] == "complete"
    found = {
        run["run"]: run["best"]
        for run in answer("runs", "--in", swept / "runs")["runs"]
    }
    assert found["a"] == found["b"]


def test_runs_are_shown_and_queried(swept: Path):
    parent = ["--in", swept / "runs"]
    sql = "SELECT max(power) AS most FROM points WHERE run = 'a'"
    (row,) = answer("runs", "query", sql, *parent)["rows"]
    assert row["most"] > 100
    assert "most" in invoke("runs", "query", sql, *parent).stdout
    assert "complete" in invoke("runs", *parent).stdout
    assert answer("runs", "show", "a", *parent)["shards"] == 6
    assert "energy_per_token_server" in invoke("runs", "show", "a", *parent).stdout
    for words, text in [
        (["runs", "rm"], "Allowed: ls"),
        (["runs", "query"], "say which"),
        (["runs", "query", "SELEC", *parent], "syntax error"),
        (["runs", "show", "none", *parent], "holds no"),
    ]:
        done = invoke(*words)
        assert done.exit_code == 2
        assert text in done.stderr


def test_rerun_of_a_sweep_is_the_same(swept: Path, tmp_path: Path):
    again = answer("rerun", swept / "runs" / "a", "--out", tmp_path / "again")
    assert again["same"]
    assert again["before"] == again["after"]


@pytest.mark.slow
def test_rerun_of_a_search_is_the_same(searched: Searched, tmp_path: Path):
    again = answer("rerun", searched.folder, "--out", tmp_path / "again")
    assert again["same"]
    best = json.loads((tmp_path / "again" / "result.json").read_text("utf-8"))
    assert best["rungs"][-1]["objective"] == again["before"]


def test_compare_says_what_changed(swept: Path):
    run = swept / "runs" / "a"
    found = answer("compare", run / "design.yaml", run)
    assert found["why"].keys() <= found["variables"].keys()
    assert "together" in invoke("compare", run / "design.yaml", run).stdout


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["swept.yaml", "--shard", "1/2"], "--out"),
        (["swept.yaml", "--out", "x", "--shard", "5/2"], "1 to 2"),
        (["swept.yaml", "--out", "x", "--shard", "half"], "i/N"),
        (["swept.yaml", "--out", "runs/a"], "there already"),
        (["swept.yaml", "--executor", "slurm"], "inprocess"),
        (["--resume", "runs"], "holds no job.json"),
        (["--resume", "runs/a", "--out", "x"], "leave --out away"),
        (["--resume", "runs/a", "--set", "chip.tdp=1 W"], "keeps its study"),
        (["runs/a/design.yaml"], "sweep section"),
        ([], "--along"),
    ],
)
def test_bad_runs_are_explained(
    *, swept: Path, flags: list[str], text: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(swept)
    done = invoke("sweep", *flags)
    assert done.exit_code == 2, done.output
    assert text in done.stderr


def test_interrupted_sweep_ends_with_4_and_goes_on(swept: Path, tmp_path: Path):
    command = [sys.executable, "-m", "codesign", "sweep", swept / "swept.yaml", *METRIC]
    process = subprocess.Popen(
        [
            *map(str, command),
            "--out",
            str(tmp_path / "run"),
            "--shard-size=1",
            "--json",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **worker_settings()},
    )
    assert process.stderr is not None
    while '"shard"' not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 4, told
    assert "codesign sweep --resume" in told
    done = invoke("sweep", "--resume", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "complete" in done.stdout


def test_lines_come_once_per_interval(capsys: pytest.CaptureFixture[str]):
    show = Lines(interval=1e9)
    event = {"event": "shard", "done": 1, "total": 4, "points_per_second": 9.0}
    event |= {"seconds": 1.0, "seconds_left": 3.0}
    show(event)
    assert capsys.readouterr().err == ""
    Lines(interval=0.0)(event)
    assert capsys.readouterr().err == "1 of 4 shards  9 points/s  3 s left\n"
    assert event_text({"event": "stage", "text": "x"}) == "x"
