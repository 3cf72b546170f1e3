"""Server against Offline, a table of the scorecard, on a few made runs."""

import csv
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"
FIELDS = (
    "id",
    "model",
    "scenario",
    "accelerator",
    "total_accelerators",
    "tokens_per_s",
)
RUNS = (
    ("a", "llama3.1-8b", "Offline", "NVIDIA H100-SXM-80GB", "8", "1000"),
    ("a", "llama3.1-8b", "Server", "NVIDIA H100-SXM-80GB", "8", "800"),
    ("a", "llama3.1-8b", "Server", "NVIDIA H100-SXM-80GB", "8", "900"),
    ("b", "llama3.1-8b", "Offline", "NVIDIA H100-SXM-80GB", "8", "1000"),
    ("b", "llama3.1-8b", "Server", "NVIDIA H100-SXM-80GB", "8", "700"),
    ("c", "llama3.1-8b", "Offline", "NVIDIA H100-SXM-80GB", "4", "500"),
    ("d", "llama3.1-8b", "Interactive", "NVIDIA H100-SXM-80GB", "8", "300"),
    ("d", "llama3.1-8b", "Offline", "NVIDIA H100-SXM-80GB", "8", ""),
    ("e", "gptj-99", "Offline", "NVIDIA H100-SXM-80GB", "8", "1"),
    ("e", "gptj-99", "Server", "NVIDIA H100-SXM-80GB", "8", "1"),
)


@pytest.fixture
def other_machines(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS))
    return import_module("other_machines")


def test_server_over_offline_pairs_the_best_runs_of_a_system(
    tmp_path: Path, other_machines: ModuleType
):
    path = tmp_path / "mlperf.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([FIELDS, *RUNS])
    header, row = other_machines.server_rows(path)
    assert header[2:4] == ["pairs", "measured"]
    assert row[:3] == ["h100-sxm", "llama3.1-8b", "2"]
    assert row[3].startswith("0.80 (0.75–0.85)")
    assert 0.5 <= float(row[4]) <= 1.0


def test_a_tighter_limit_per_token_leaves_less_of_the_offline_rate(
    other_machines: ModuleType,
):
    work = other_machines.WORKLOADS["llama3.1-8b"]
    loose, tight, none = (
        other_machines._server_share("h100-sxm", replace(work, each=each), bits=8.0)
        for each in (1.0, 0.025, 1e-4)
    )
    assert 0.9 < loose <= 1.0
    assert 0.6 < tight < loose - 0.05
    assert none == 0.0
