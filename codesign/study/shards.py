"""How is a shard kept, so that half a file can never pass for a whole one?

Columns -> a Parquet file written under another name, then renamed; its metadata
carry the fingerprint of the job and a digest of the values, which a reader
compares. A file that differs in anything is as good as absent.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from codesign.core.errors import InputError

Columns = dict[str, NDArray[Any]]

SHARDS = "shards"
SUFFIX = ".parquet"
PART = ".part"
_DIGITS = 6


def shard_path(folder: Path, index: int) -> Path:
    """File of a shard; one name for one number, so nothing is counted twice."""
    return folder / SHARDS / f"{index:0{_DIGITS}d}{SUFFIX}"


def write_shard(
    path: Path,
    columns: Mapping[str, NDArray[Any]],
    *,
    fingerprint: str,
    index: int,
    units: Mapping[str, str],
    about: Mapping[str, Any],
) -> None:
    """Write the columns of a shard, all of them or nothing.

    ``about`` is kept as JSON beside the units: inputs and versions, so that a
    file explains itself without its folder.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    digest = column_digest(columns)
    notes = {
        "fingerprint": fingerprint,
        "shard": str(index),
        "rows": str(len(next(iter(columns.values())))),
        "digest": digest,
        "units": json.dumps(units),
        "about": json.dumps(about, default=str),
    }
    part = path.with_name(f".{path.stem}.{os.getpid()}{PART}")
    try:
        _write(part, dict(columns), notes=notes)
        _to_disk(part)
        part.replace(path)
    except (OSError, duckdb.Error) as error:
        raise InputError(
            f"{path}: cannot be written ({_reason(error)}). Shards that are complete "
            "stay; make room and resume the run."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def read_shard(
    path: Path, *, fingerprint: str, index: int, names: Sequence[str] | None = None
) -> Columns | None:
    """Columns of a shard, or None where the file is absent, cut short or another's.

    With ``names`` only those columns are given back; all are checked.
    """
    try:
        notes = read_notes(path)
        if notes.get("fingerprint") != fingerprint or notes.get("shard") != str(index):
            return None
        query = "SELECT * FROM read_parquet(?)"
        with database() as base:
            found: dict[str, Any] = base.execute(query, [str(path)]).fetchnumpy()
    except (duckdb.Error, OSError):
        return None
    columns = {name: plain_column(column) for name, column in found.items()}
    if column_digest(columns) != notes.get("digest"):
        return None
    return columns if names is None else {name: columns[name] for name in names}


def read_notes(path: Path) -> dict[str, str]:
    """Metadata of a Parquet file that a shard keeps about itself."""
    with database() as base:
        rows = base.execute(
            "SELECT key, value FROM parquet_kv_metadata(?)", [str(path)]
        ).fetchall()
    return {bytes(k).decode(): bytes(v).decode("utf-8", "replace") for k, v in rows}


def database() -> duckdb.DuckDBPyConnection:
    """A connection of its own to the one empty database of this process."""
    return _shared().cursor()


@lru_cache(maxsize=1)
def _shared() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def column_digest(columns: Mapping[str, NDArray[Any]]) -> str:
    """Digest of names, types and every bit of every value.

    Example:
        >>> column_digest({"a": np.array([1.0])}) == column_digest({"a": np.array([1])})
        False
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(columns):
        column = columns[name]
        text = column.dtype.kind in "OUS"
        kind = "text" if text else column.dtype.str
        digest.update(f"{name}\0{kind}\0{len(column)}\0".encode())
        if text:
            digest.update("\0".join(map(str, column)).encode())
        else:
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def plain_column(column: Any) -> NDArray[Any]:
    """A column as DuckDB gives it, with NaN where it holds nothing."""
    if isinstance(column, np.ma.MaskedArray):
        kind = column.dtype.kind
        return np.asarray(column.filled(np.nan if kind == "f" else ""))
    return np.asarray(column)


def remove_parts(folder: Path) -> None:
    """Remove what killed writers left behind."""
    for part in (folder / SHARDS).glob(f".*{PART}"):
        with contextlib.suppress(OSError):
            part.unlink()


def _write(part: Path, data: Columns, *, notes: Mapping[str, str]) -> None:
    kept = ", ".join(f"{key}: {_quoted(value)}" for key, value in notes.items())
    with database() as base:
        base.register("columns_of_shard", data)
        base.execute(
            f"COPY (SELECT * FROM columns_of_shard) TO {_quoted(str(part))} "  # noqa: S608
            f"(FORMAT parquet, ROW_GROUP_SIZE 1048576, KV_METADATA {{{kept}}})"
        )


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _to_disk(path: Path) -> None:
    """Wait until the file is on the disk, so that a rename never names an empty one."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _reason(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror or str(error).partition("\n")[0])
