"""What do all runs say together? SQL over their folders, with no server.

Parent folder -> one line per run, and DuckDB tables ``runs`` (a row per run),
``points`` (a row per point of every sweep) and ``rungs`` (a row per design that
a search compared).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from codesign.core.errors import InputError
from codesign.study.folder import is_swept
from codesign.study.plain import flat_values
from codesign.study.runs import MANIFEST, RESULT, read_json
from codesign.study.shards import SHARDS, SUFFIX

MOST_ROWS = 10_000
SUMMARY = (
    "run",
    "kind",
    "study",
    "created",
    "status",
    "points",
    "minimize",
    "best",
    "feasible",
    "seed",
)


@dataclass(frozen=True)
class Answer:
    """Rows of a query; ``cut`` when there were more than are given."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    cut: bool = False


def list_runs(parent: Path) -> list[dict[str, Any]]:
    """A summary of each run in a folder, oldest first, with its best value.

    Raises:
        InputError: no such folder.
    """
    if not parent.is_dir():
        raise InputError(f"{parent}: no such folder. Runs are kept in runs/ or --in.")
    found = [
        summary(path)
        for path in sorted(parent.iterdir())
        if not path.name.startswith(".") and (path / MANIFEST).is_file()
    ]
    return sorted(found, key=lambda run: (str(run["created"]), run["run"]))


def summary(folder: Path) -> dict[str, Any]:
    """What the list shows of one run."""
    manifest = read_json(folder / MANIFEST)
    swept = is_swept(folder)
    objective: dict[str, Any] = manifest.get("objective") or {}
    best: dict[str, Any] = manifest.get("best") or {}
    minimize = str(manifest.get("minimize", ""))
    value = best.get(minimize) if swept else next(reversed(objective.values()), None)
    status = str(manifest.get("status", ""))
    if swept and status != "complete":
        done = len(list((folder / SHARDS).glob(f"[0-9]*{SUFFIX}")))
        status = f"{done} of {manifest.get('shards')} shards"
    known = {
        "run": folder.name,
        "kind": manifest.get("kind", "optimize"),
        "status": status,
        "best": value,
        "feasible": bool(best) if swept else manifest.get("feasible"),
    }
    return {name: known.get(name, manifest.get(name)) for name in SUMMARY}


@dataclass(frozen=True)
class LeftOut:
    """Points of a sweep without a result: how many, why, and the first of them."""

    illegal: int
    not_finite: int
    first: int | None


def left_out(folder: Path) -> LeftOut:
    """Points that no design can be built at, and points that gave no number."""
    points, metric = _points(folder), summary(folder)["minimize"]
    if not points:
        return LeftOut(0, 0, None)
    finite = f"isfinite(coalesce(\"{metric}\", 'nan'::DOUBLE))"
    bad = f"NOT legal OR NOT {finite}"
    columns = (
        "count(*) FILTER (NOT legal)",
        f"count(*) FILTER (legal AND NOT {finite})",
        f"min(point) FILTER ({bad})",
    )
    text = f"SELECT {', '.join(columns)} FROM ({points})"  # noqa: S608 - quoted
    with duckdb.connect() as base:
        try:
            illegal, broken, first = base.execute(text).fetchall()[0]
        except duckdb.Error:
            return LeftOut(0, 0, None)
    return LeftOut(int(illegal), int(broken), first)


def query_runs(parent: Path, sql: str, *, most: int = MOST_ROWS) -> Answer:
    """Rows of a SQL query over ``runs``, ``points`` and ``rungs``.

    Names with a dot need quotes: ``SELECT "chip.dram.bandwidth" FROM points``.
    The query can read the runs and nothing else.

    Raises:
        InputError: the query or a shard cannot be read.
    """
    with duckdb.connect() as base:
        _register(base, parent)
        _close(base, parent)
        try:
            _check_select(base, sql)
            cursor = base.execute(sql)
            rows = cursor.fetchmany(most + 1) if cursor.description else []
        except (duckdb.Error, RuntimeError) as error:
            raise InputError(f"query: {error}") from error
        columns = tuple(str(entry[0]) for entry in cursor.description or ())
    return Answer(columns, rows=tuple(rows[:most]), cut=len(rows) > most)


def _check_select(base: duckdb.DuckDBPyConnection, sql: str) -> None:
    kinds = [statement.type for statement in base.extract_statements(sql)]
    if kinds != [duckdb.StatementType.SELECT]:
        raise InputError("query: write one SELECT statement; runs are only read.")


def _register(base: duckdb.DuckDBPyConnection, parent: Path) -> None:
    runs = list_runs(parent)
    _table(base, "runs", rows=runs, names=SUMMARY)
    folders = [parent / str(run["run"]) for run in runs]
    rungs = [row for folder in folders for row in _rungs(folder)]
    names = dict.fromkeys(name for row in rungs for name in row)
    _table(base, "rungs", rows=rungs, names=tuple(names) or ("run", "rung"))
    parts = [part for folder in folders if (part := _points(folder))]
    if parts:
        base.execute(f"CREATE VIEW points AS {' UNION ALL BY NAME '.join(parts)}")
    else:
        base.execute("CREATE TABLE points (run VARCHAR, point BIGINT)")


def _points(folder: Path) -> str:
    """SELECT of all rows of a run; empty where it has no shards."""
    shards = sorted((folder.resolve() / SHARDS).glob(f"[0-9]*{SUFFIX}"))
    if not shards or not is_swept(folder):
        return ""
    files = ", ".join(_quoted(str(path)) for path in shards)
    return (
        f"SELECT {_quoted(folder.name)} AS run, * "  # noqa: S608 - quoted
        f"FROM read_parquet([{files}])"
    )


def _rungs(folder: Path) -> list[dict[str, Any]]:
    if not (folder / RESULT).is_file():
        return []
    rows: list[dict[str, Any]] = []
    for rung in read_json(folder / RESULT).get("rungs", []):
        own = {k: rung.get(k) for k in ("objective", "violation", "feasible", "worst")}
        row = {"run": folder.name, "rung": rung.get("name"), **own}
        row |= flat_values(rung.get("cost") or {})
        row |= rung.get("values") or {}
        rows.append(row)
    return rows


def _table(
    base: duckdb.DuckDBPyConnection,
    name: str,
    *,
    rows: Sequence[dict[str, Any]],
    names: Sequence[str],
) -> None:
    columns = {n: _column([row.get(n) for row in rows]) for n in names}
    base.register(f"_{name}", columns)
    base.execute(f"CREATE TABLE {name} AS SELECT * FROM _{name}")  # noqa: S608
    base.unregister(f"_{name}")


def _column(values: Sequence[Any]) -> Any:
    if all(isinstance(v, (int, float)) or v is None for v in values):
        return np.array([np.nan if v is None else float(v) for v in values])
    return np.array(["" if v is None else str(v) for v in values], object)


def _close(base: duckdb.DuckDBPyConnection, parent: Path) -> None:
    """Let a query read the runs, and write or reach nothing."""
    folder = _quoted(str(parent.resolve()) + os.sep)
    base.execute(f"SET allowed_directories = [{folder}]")
    base.execute("SET enable_external_access = false")
    base.execute("SET lock_configuration = true")


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
