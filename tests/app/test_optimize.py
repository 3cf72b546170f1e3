"""``codesign optimize``: one small search, and everything that it leaves behind."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from codesign.app import errors
from codesign.app.optimize import progress_lines
from codesign.config.catalogue import find_preset
from codesign.config.design import load_design
from codesign.config.study import load_study
from codesign.study.runs import load_run
from tests.app.runner import Searched, answer, invoke
from tests.app.test_twelve import CASES, SEARCHED, check_answer
from tests.helpers import assert_trees_close

FILES = {
    "study.yaml",
    "resolved.yaml",
    "manifest.json",
    "result.json",
    "best.yaml",
    "tuned.yaml",
    "report.html",
}


def test_prints_progress_tables_and_what_is_next(searched: Searched):
    lines = searched.done.stdout.splitlines()
    assert re.match(r" *\d+\.\d s  codesign .* optimize ", lines[0])
    for text in (
        "[tuned]",
        "[co-designed]",
        "as given",
        "vs tuned",
        "energy per output token, server",
        "USD/Mtoken",
        "chip.dram.bandwidth",
        "Limits that bind",
        "Strongest levers",
        "KKT residual",
        "All limits are kept",
        "announced, recalled or assumed of NVIDIA H100",
        "report.html",
        "codesign evaluate",
    ):
        assert text in searched.done.stdout


def test_a_limit_out_of_reach_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    check_answer(CASES[SEARCHED], tmp_path=tmp_path, monkeypatch=monkeypatch)


def test_folder_holds_the_run_and_nothing_else(searched: Searched):
    assert {path.name for path in searched.folder.iterdir()} == FILES
    given = searched.study.read_text(encoding="utf-8")
    assert (searched.folder / "study.yaml").read_text(encoding="utf-8") == given
    left = [p.name for p in searched.folder.parent.iterdir() if p.name.startswith(".")]
    assert left == []


def test_search_is_not_worse_than_its_baseline(searched: Searched):
    rungs = searched.data("result.json")["rungs"]
    given, tuned, best = (rung["objective"] for rung in rungs)
    assert best <= tuned * (1 + 1e-9)
    assert tuned <= given * (1 + 1e-9)
    assert all(rung["feasible"] for rung in rungs[1:])


def test_best_design_evaluates_to_what_was_reported(searched: Searched):
    reported = searched.data("result.json")["rungs"][-1]["cost"]
    data = answer("evaluate", searched.folder / "best.yaml")
    for name in ("energy_per_token_server", "time_per_output_token", "usd_per_token"):
        assert data[name] == pytest.approx(reported[name], rel=1e-6)


def test_manifest_says_how_to_repeat_it(searched: Searched):
    manifest = searched.data("manifest.json")
    assert manifest["seed"] == 1
    assert manifest["argv"] == ["optimize", "small.yaml", "--set", "search.seed=1"]
    wanted = {"python", "codesign", "jax", "jaxlib", "flax", "optax", "numpy"}
    assert wanted == manifest["versions"].keys()
    assert manifest["timings"]["total"] > 0
    assert manifest["platform"]["processors"] >= 1
    for name in ("manifest.json", "result.json", "resolved.yaml", "report.html"):
        text = (searched.folder / name).read_text(encoding="utf-8")
        assert str(searched.folder.parent) not in text


def test_resolved_study_is_the_same_study(searched: Searched):
    resolved = load_study(searched.folder / "resolved.yaml")
    given = load_study(searched.study)
    assert resolved.free == given.free
    assert resolved.limits == given.limits
    assert resolved.search.seed == 1
    assert_trees_close(resolved.baseline, given.baseline)


def test_saved_result_is_the_result(searched: Searched):
    result = load_run(searched.folder)
    best = load_design(searched.folder / "best.yaml")
    assert_trees_close(jax.device_get(result.design), jax.device_get(best), rtol=1e-12)
    assert result.feasible
    assert result.evidence is not None
    assert result.evidence.elasticities


def test_report_can_be_drawn_again(searched: Searched, tmp_path: Path):
    page = tmp_path / "again.html"
    done = invoke("report", searched.folder, "--out", page)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.strip() == str(page)
    assert "small" in page.read_text(encoding="utf-8")


def test_study_beside_its_files_gives_the_same_answer_as_json(
    searched: Searched, tmp_path: Path
):
    chip = find_preset("chips", "h100-sxm").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(chip, encoding="utf-8")
    text = searched.study.read_text(encoding="utf-8").replace("h100-sxm", "mine.yaml")
    file, folder = tmp_path / "study.yaml", tmp_path / "run"
    file.write_text(text, encoding="utf-8")
    done = invoke("optimize", file, "--json", "--quiet", "--seed=1", "--out", folder)
    assert done.exit_code == 0
    assert done.stderr == ""
    printed = json.loads(done.stdout)
    assert printed["run"] == str(folder)
    objectives = [rung["objective"] for rung in printed["rungs"]]
    before = [rung["objective"] for rung in searched.data("result.json")["rungs"]]
    assert objectives == pytest.approx(before, rel=1e-9)
    assert (folder / "inputs" / "mine.yaml").is_file()
    (tmp_path / "mine.yaml").unlink()
    assert load_study(folder / "resolved.yaml").name == "small"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("number", "after"), [(signal.SIGINT, "optimize"), (signal.SIGTERM, "minimize")]
)
def test_interrupted_search_leaves_no_folder(
    *, number: signal.Signals, after: str, small_study: Path, tmp_path: Path
):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "codesign", "optimize", str(small_study)]
    with subprocess.Popen(
        [*command, "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        while after not in running.stdout.readline():
            pass
        time.sleep(0.2)
        running.send_signal(number)
        _, errors = running.communicate(timeout=120)
    assert running.returncode == 4, errors
    assert "Interrupted" in errors
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_that_was_lost_stops_at_the_next_line(
    monkeypatch: pytest.MonkeyPatch,
):
    """In a callback of the interpreter the exception of a signal is ignored."""
    tell = progress_lines(quiet=True, to_stderr=False)
    tell("before")
    monkeypatch.setattr(errors._Stop, "asked", True)
    with pytest.raises(KeyboardInterrupt):
        tell("after")


STOPPED_WITHIN = """\
import signal
signal.raise_signal(signal.SIGINT)
signal.raise_signal(signal.SIGINT)
is_whole = True
"""


def import_and_wait(module: str) -> None:
    importlib.import_module(module)
    time.sleep(10)


def test_an_interrupt_within_an_import_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A module in C++ ends the process if the exception of a signal meets it."""
    (tmp_path / "stopped_within.py").write_text(STOPPED_WITHIN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name, value in (("asked", False), ("ending", False), ("later", None)):
        monkeypatch.setattr(errors._Stop, name, value)
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    errors.stop_on_signals()
    try:
        with pytest.raises(KeyboardInterrupt):
            import_and_wait("stopped_within")
        time.sleep(2 * errors.AFTER_IMPORT)  # both of its signals stop once
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert sys.modules.pop("stopped_within").is_whole
    assert errors._Stop.asked
    assert errors._Stop.later is None


def test_a_stop_that_waited_does_not_disturb_the_end(tmp_path: Path):
    """What was asked for in an import is noticed before it is tried again."""
    (tmp_path / "stopped_within.py").write_text(STOPPED_WITHIN, encoding="utf-8")
    script = """\
import sys, threading, time
from codesign.app import cli, errors

def stop():
    import stopped_within
    errors.check_asked()

cli.app.command("stop")(errors.guarded(stop))
threading.Thread(target=time.sleep, args=(0.5,)).start()
sys.argv = ["codesign", "stop"]
cli.run()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr


def test_a_finished_run_is_not_resumed(searched: Searched):
    done = invoke("optimize", searched.study, "--resume", searched.folder)
    assert done.exit_code == 2
    assert "is finished" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_stopped_search_goes_on_to_the_same_answer(
    searched: Searched, tmp_path: Path
):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "codesign", "optimize", str(searched.study)]
    with subprocess.Popen(
        [*command, "--seed", "1", "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        while "integers" not in running.stdout.readline():
            pass
        running.send_signal(signal.SIGTERM)
        _, errors = running.communicate(timeout=300)
    assert running.returncode == 4, errors
    assert f"--resume {folder}" in errors
    assert [path.name for path in folder.iterdir()] == ["stages"]
    done = invoke("optimize", searched.study, "--seed", 1, "--resume", folder)
    assert done.exit_code == 0, done.output
    assert {path.name for path in folder.iterdir()} == FILES
    again = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    for ours, theirs in zip(
        again["rungs"], searched.data("result.json")["rungs"], strict=True
    ):
        assert ours["values"] == theirs["values"]
        assert ours["objective"] == theirs["objective"]


@pytest.mark.slow
def test_how_the_best_design_of_a_run_moves(searched: Searched):
    found = answer("sensitivity", "--run", searched.folder)
    assert found["is_minimum"]
    assert found["residual"] < 1e-6
    assert any(path.startswith("technology.") for path in found["slopes"])
    done = invoke("sensitivity", "--run", searched.folder, "--top", 5)
    assert done.exit_code == 0, done.output
    assert "how the best design moves" in done.stdout
