"""Twelve mistakes that users make, each answered with what to do."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.app.runner import DESIGN, STUDY, invoke

SWEEP = """\
name: swept
baseline: {chip: h100-sxm, model: llama-3-8b, num_chips: 8, batch: 64}
request: {prompt_length: 1024, output_length: 256}
sweep:
  over:
    deployment.tensor_parallel: [1, 3, 8]
    chip.tdp: [500 W, 700 W]
"""
SMALL = (
    "evaluate",
    "--chip=h100-sxm",
    "--model=llama-3-70b",
    "--batch=8",
    "--prompt-length=512",
    "--output-length=128",
)
Run = Callable[[Path, pytest.MonkeyPatch], tuple[object, ...]]


@dataclass(frozen=True)
class Case:
    """Arguments of the program, its exit code, what its complaint must hold."""

    run: Run
    code: int
    texts: tuple[str, ...]
    not_more: int = 1  # lines of the complaint


def study(old: str, new: str, *more: str) -> Run:
    def run(folder: Path, _: pytest.MonkeyPatch) -> tuple[object, ...]:
        assert old in STUDY
        file = folder / "study.yaml"
        file.write_text(STUDY.replace(old, new), encoding="utf-8")
        return ("optimize", file, "--quiet", "--out", folder / "run", *more)

    return run


def flags(*words: str) -> Run:
    return lambda *_: words


def unknown_family(folder: Path, _: pytest.MonkeyPatch) -> tuple[object, ...]:
    file = folder / "config.json"
    shape = {"model_type": "foo", "hidden_size": 4096, "num_hidden_layers": 32}
    file.write_text(json.dumps(shape), encoding="utf-8")
    return ("evaluate", *DESIGN, "--model", file)


def sweep(folder: Path, *more: object) -> tuple[object, ...]:
    file = folder / "swept.yaml"
    file.write_text(SWEEP, encoding="utf-8")
    return ("sweep", file, "--metric=power", *more)


def no_ray(folder: Path, patch: pytest.MonkeyPatch) -> tuple[object, ...]:
    patch.setitem(sys.modules, "ray", None)
    return sweep(folder, "--executor=ray", "--out", folder / "run")


def changed_study(folder: Path, _: pytest.MonkeyPatch) -> tuple[object, ...]:
    run = folder / "run"
    assert invoke(*sweep(folder, "--out", run)).exit_code == 0
    return sweep(folder, "--set=chip.node=7 nm", "--resume", run)


def impossible_points(folder: Path, _: pytest.MonkeyPatch) -> tuple[object, ...]:
    return sweep(folder, "--out", folder / "run")


SEARCHED = "a limit out of reach"  # in test_optimize.py, whose programs it shares
BANDWIDTH = "{min: 2 TB/s, max: 5 TB/s}"
CASES = {
    "unknown preset": Case(
        study("chip: h100-sxm", "chip: h10O"),
        2,
        ("study.yaml:2  baseline.chip", '"h10O"', "Close: H100", "codesign presets"),
    ),
    "unknown field": Case(
        study("chip.dram.bandwidth:", "chip.dram.bandwith:"),
        2,
        ("study.yaml:5  free.chip.dram.bandwith", "chip.dram.bandwidth"),
    ),
    "swapped bounds": Case(
        study(BANDWIDTH, "{min: 5 TB/s, max: 2 TB/s}"),
        2,
        ("study.yaml:5  free.chip.dram.bandwidth", "5 TB/s", "2 TB/s", "Swapped?"),
    ),
    "bare number": Case(
        study(BANDWIDTH, "{min: 3.35, max: 5 TB/s}"),
        2,
        ("study.yaml:5", "needs a unit. 3.35 what?", "baseline's value is 3.35 TB/s"),
        not_more=2,
    ),
    "another dimension": Case(
        flags("evaluate", *DESIGN, "--set=chip.tdp=700 GB/s"),
        2,
        ('"700 GB/s" is a bandwidth', "chip.tdp is a power", 'Try "700 W"'),
    ),
    "unknown model_type": Case(
        unknown_family,
        2,
        ("model_type 'foo'", "num_attention_heads is missing", "import-hf", "--as"),
    ),
    "too large for the memory": Case(
        flags(*SMALL),
        3,
        ("Does not fit: weights 141 GB + KV", "per chip", "--num-chips 2", "Enough by"),
    ),
    SEARCHED: Case(
        study("30 ms", "1 ms"),
        3,
        ("no design keeps all", "loosen time_per_output_token from 1 ms", "ms/token"),
        not_more=3,
    ),
    "an extra that is absent": Case(
        no_ray,
        2,
        ("Ray is not installed", 'pip install "codesign[ray]"', "inprocess"),
        not_more=9,
    ),
    "a run of another study": Case(
        changed_study,
        2,
        ("another", "baseline.chip.node", "run"),
        not_more=9,
    ),
    "points without a number": Case(
        impossible_points,
        0,
        ("2 points without a result: no design can be built there", "point 2"),
        not_more=9,
    ),
    "beyond what was checked": Case(
        flags(
            "evaluate",
            "--chip=h100-sxm",
            "--model=llama-3-8b",
            "--batch=8",
            "--prompt-length=512",
            "--output-length=128",
            "--set=chip.sram.capacity=4 GiB",
        ),
        0,
        ("A100, H100, B200", "chip.sram.capacity 4.29 GB", "17 times", "extrapolation"),
        not_more=9,
    ),
}


def test_there_are_twelve():
    assert len(CASES) == 12


@pytest.mark.parametrize("name", [name for name in CASES if name != SEARCHED])
def test_mistake_is_answered(
    *, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    check_answer(CASES[name], tmp_path=tmp_path, monkeypatch=monkeypatch)


def check_answer(case: Case, *, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Exit code and complaint of a mistake are those of its case."""
    done = invoke(*case.run(tmp_path, monkeypatch))
    assert done.exit_code == case.code, done.output
    for text in case.texts:
        assert text in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= case.not_more, done.stderr
    if case.code == 3 and (tmp_path / "run").is_dir():
        written = {path.name for path in (tmp_path / "run").iterdir()}
        assert {"best.yaml", "report.html"} <= written, "infeasible is a result"
