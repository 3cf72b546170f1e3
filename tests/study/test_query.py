"""Runs are listed with their best value, and SQL reads them and nothing else."""

import json
from pathlib import Path

import pytest

from codesign.core.errors import InputError
from codesign.study.drive import complete
from codesign.study.executors import InProcess
from codesign.study.folder import Run
from codesign.study.merge import merge_runs
from codesign.study.query import list_runs, query_runs
from codesign.study.rerun import rerun
from codesign.study.shards import shard_path
from codesign.study.table import folder_table
from tests.study.jobs import assert_same_columns, new_run

METRICS = ("energy_per_token", "power", "limits")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = new_run(tmp_path_factory.mktemp("runs") / "first", metrics=METRICS)
    complete(made, InProcess())
    return made


def test_list_shows_the_best_value(run: Run):
    (found,) = list_runs(run.folder.parent)
    best = folder_table(run).best("energy_per_token_server")
    assert best is not None
    assert found["best"] == best["energy_per_token_server"]
    assert (found["status"], found["points"]) == ("complete", 100)


def test_row_is_read_from_its_shard_alone(run: Run):
    table = folder_table(run)
    row = table.row(57)
    assert row.keys() == set(table.columns)
    assert row == {name: table[name][57] for name in table.columns}
    part, within = table.part_of(57)
    assert (len(part["point"]), within) == (10, 7)


def test_query_counts_every_point_once(run: Run):
    sql = 'SELECT run, count(*), count(DISTINCT point), max("deployment.batch") '
    sql += "FROM points GROUP BY run"
    found = query_runs(run.folder.parent, sql)
    assert found.rows == (("first", 100, 100, 400.0),)
    assert query_runs(run.folder.parent, "SELECT * FROM points", most=7).cut
    (row,) = query_runs(run.folder.parent, "SELECT run, best FROM runs").rows
    assert row[0] == "first"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/hostname')",
        "SELECT * FROM '/etc/hostname'",
        "COPY runs TO 'x.csv'",
        "ATTACH 'x.db'",
        "SELECT 1; DROP TABLE runs",
        "SET enable_external_access = true",
        "SELEC 1",
        "",
    ],
)
def test_query_reads_runs_and_nothing_else(sql: str, *, run: Run):
    with pytest.raises(InputError, match="query: "):
        query_runs(run.folder.parent, sql)
    assert [path.name for path in run.folder.parent.iterdir()] == ["first"]


def test_rerun_gives_the_same_best_value(run: Run, tmp_path: Path):
    found = rerun(run.folder, tmp_path / "again")
    assert found.same
    assert found.before is not None
    assert found.versions_differ == ()
    unfinished = new_run(tmp_path / "unfinished", metrics=METRICS)
    with pytest.raises(InputError, match="not complete"):
        rerun(unfinished.folder, tmp_path / "never")


def test_parts_of_two_folders_are_merged(run: Run, tmp_path: Path):
    parts = [new_run(tmp_path / name, metrics=METRICS) for name in ("a", "b")]
    complete(parts[0], InProcess(), part=(1, 2))
    with pytest.raises(InputError, match="5 of 10 shards are missing"):
        merge_runs([part.folder for part in parts], tmp_path / "early")
    for index in (1, 2, 3, 5, 7, 9):
        data = shard_path(run.folder, index).read_bytes()
        shard_path(parts[1].folder, index).write_bytes(data)
    merge_runs([part.folder for part in parts], tmp_path / "whole")
    (whole,) = [r for r in list_runs(tmp_path) if r["run"] == "whole"]
    assert whole["status"] == "complete"
    counted = query_runs(tmp_path, "SELECT count(*) FROM points WHERE run = 'whole'")
    assert counted.rows == ((100,),)
    other = new_run(tmp_path / "other", metrics=("power",))
    with pytest.raises(InputError, match="another study"):
        merge_runs([run.folder, other.folder], tmp_path / "mixed")
    moved = Run(tmp_path / "whole", run.job, run.fingerprint, run.identity)
    assert_same_columns(folder_table(moved).to_numpy(), folder_table(run).to_numpy())


def test_folder_without_runs(tmp_path: Path):
    assert list_runs(tmp_path) == []
    assert query_runs(tmp_path, "SELECT count(*) FROM points").rows == ((0,),)
    with pytest.raises(InputError, match="no such folder"):
        list_runs(tmp_path / "none")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "manifest.json").write_text("[1", encoding="utf-8")
    with pytest.raises(InputError, match="not JSON"):
        list_runs(tmp_path)
    (tmp_path / "odd" / "manifest.json").write_text(json.dumps({}), encoding="utf-8")
    assert list_runs(tmp_path)[0]["run"] == "odd"
