"""What came out of a sweep or of draws? One table with units, inputs, versions.

Columns by name, in memory or read from a run's shards when they are asked for
-> NumPy, pandas, or a file that explains itself.
"""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from codesign.config.doubts import Doubts, doubts_text
from codesign.core.errors import InputError, UnknownNameError
from codesign.core.paths import nearest, path_units
from codesign.core.quantities import Unit
from codesign.core.show import html_table, quantity_text, text_table
from codesign.model.transformer import Transformer
from codesign.optimize.front import non_dominated
from codesign.serving.design import Design
from codesign.study.folder import Run
from codesign.study.plain import field_label, finite_or_none, flat_values
from codesign.study.runs import write_whole
from codesign.study.shards import Columns, database, plain_column, shard_path

HIDDEN = ("violation",)
SHOWN = 10  # rows in a notebook
SUFFIXES = (".csv", ".json", ".parquet")


@dataclass(frozen=True)
class Table:
    """Columns of equal length; ``table["power"]`` is a NumPy array.

    ``units`` has the SI unit of each column, ``inputs`` every parameter that
    does not change, ``unsure`` the values of the chip that were announced, recalled
    or assumed (None where no chip is named), ``versions`` what computed the numbers;
    ``folder`` is where a run keeps its rows, if it does. ``read`` gives whole columns,
    ``part_of`` the columns that hold a row, with its place in them.
    """

    units: dict[str, str]
    inputs: dict[str, Any]
    versions: dict[str, str]
    read: Callable[[Sequence[str]], Columns] = field(repr=False)
    part_of: Callable[[int], tuple[Columns, int]] = field(repr=False)
    folder: Path | None = None
    unsure: Doubts | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns."""
        return tuple(self.units)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.units:
            close = ", ".join(nearest(name, list(self.units)) or self.columns[:3])
            raise UnknownNameError(f'no column is called "{name}". Close: {close}.')
        return self.read([name])[name]

    def __len__(self) -> int:
        first = self.columns[0]
        return len(self.read([first])[first])

    def __str__(self) -> str:
        return f"{self._note()}\n{text_table(self._rows())}"

    def _repr_html_(self) -> str:
        """The first rows with their units: what a notebook shows."""
        head, *rows = self._rows()
        return html_table(head, rows, note=self._note())

    def _rows(self) -> list[tuple[str, ...]]:
        names = [name for name in self.columns if name not in HIDDEN]
        shown = [self.row(place) for place in range(min(len(self), SHOWN))]
        rows = [tuple(self._cell(name, row[name]) for name in names) for row in shown]
        return [tuple(names), *rows]

    def _cell(self, name: str, value: Any) -> str:
        if isinstance(value, float) and name in self.units:
            return quantity_text(value, Unit(self.units[name] or "1"))
        return str(value)

    def _note(self) -> str:
        kept = f", kept in {self.folder}" if self.folder else ""
        return f"{len(self)} rows{kept}; the first {min(len(self), SHOWN)} are shown."

    def to_numpy(self, names: Sequence[str] | None = None) -> Columns:
        """All columns, or some, as a dict of arrays."""
        return self.read(list(names or self.columns))

    def to_pandas(self, names: Sequence[str] | None = None) -> Any:
        """A pandas frame; units, inputs and versions are in its ``attrs``.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            pandas: Any = import_module("pandas")
        except ImportError as error:
            raise InputError(
                "pandas is not installed. Install it, or use to_numpy()."
            ) from error
        frame = pandas.DataFrame(self.to_numpy(names))
        frame.attrs = {
            "units": self.units,
            "inputs": self.inputs,
            "unsure": self.unsure,
            "versions": self.versions,
        }
        return frame

    def best(self, name: str) -> dict[str, Any] | None:
        """The feasible row with the least value of a column; None if there is none."""
        found = self.read([name, "feasible"])
        values = np.where(found["feasible"].astype(bool), found[name], np.inf)
        values = np.where(np.isnan(values), np.inf, values)
        if not len(values) or not np.isfinite(values.min()):
            return None
        return self.row(int(np.argmin(values)))

    def front(self, names: Sequence[str]) -> "Table":
        """Feasible rows that no other one beats in all named columns, in their order.

        Smaller is better; rows are sorted by the first name. Of a run only the named
        columns are read whole, and the shards that hold a row of the front.
        """
        found = self.read([*names, "feasible"])
        values = np.stack([np.asarray(found[name], float) for name in names], axis=1)
        sound = found["feasible"].astype(bool) & np.all(np.isfinite(values), axis=1)
        places = np.flatnonzero(sound)
        places = places[non_dominated(values[places])]
        places = places[np.argsort(values[places, 0], kind="stable")]
        rows = [self.row(int(place)) for place in places]
        return memory_table(
            {name: np.array([row[name] for row in rows]) for name in self.columns},
            units=self.units,
            inputs=self.inputs,
            versions=self.versions,
            unsure=self.unsure,
        )

    def row(self, place: int) -> dict[str, Any]:
        """One row by its place; of a run, only its shard is read."""
        part, within = self.part_of(place)
        return {
            name: column[within].item()
            if isinstance(column[within], np.generic)
            else column[within]
            for name, column in part.items()
        }

    def save(self, path: str | Path) -> None:
        """Write a .csv, .json or .parquet file with inputs, units and versions.

        In CSV each input and version is a column of its own; JSON and the
        metadata of Parquet hold them once.

        Raises:
            InputError: another suffix, or the file cannot be written.
        """
        target = Path(path)
        writers = {".csv": _csv, ".json": _json, ".parquet": _parquet}
        if target.suffix not in writers:
            raise InputError(f"{target}: end the name in {', '.join(SUFFIXES)}.")
        try:
            write_whole(target, lambda part: writers[target.suffix](self, part))
        except (OSError, duckdb.Error) as error:
            raise InputError(f"{target}: cannot be written ({error}).") from error


def memory_table(
    columns: Mapping[str, NDArray[Any]],
    *,
    units: Mapping[str, str],
    inputs: Mapping[str, Any],
    versions: Mapping[str, str],
    unsure: Doubts | None = None,
) -> Table:
    """A table of columns at hand."""
    kept = dict(columns)
    return Table(
        units=dict(units),
        inputs=dict(inputs),
        versions=dict(versions),
        unsure=unsure,
        read=lambda names: {name: kept[name] for name in names},
        part_of=lambda place: (kept, place),
    )


def folder_table(run: Run) -> Table:
    """The table of a run, read from its shards column by column."""
    about = run.about()
    return Table(
        units=run.job.units(),
        inputs=about["inputs"],
        versions=about["versions"],
        read=lambda names: _read_columns(run, names),
        part_of=lambda place: _read_part(run, place),
        folder=run.folder,
        unsure=about["unsure"],
    )


def _read_part(run: Run, place: int) -> tuple[Columns, int]:
    """Columns of the shard that holds a row, and the place of the row in it."""
    index, within = divmod(place, run.job.shard_size)
    return _read_columns(run, list(run.job.units()), shards=[index]), within


def _read_columns(
    run: Run, names: Sequence[str], *, shards: Sequence[int] | None = None
) -> Columns:
    chosen = range(run.job.num_shards) if shards is None else shards
    files = [str(shard_path(run.folder, index)) for index in chosen]
    wanted = ", ".join(_name(name) for name in names)
    with database() as base:
        try:
            found: dict[str, Any] = base.execute(
                f"SELECT {wanted} FROM read_parquet(?)",  # noqa: S608 - quoted
                [files],
            ).fetchnumpy()
        except duckdb.Error as error:
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"{run.folder}: shards are missing or damaged ({reason}). Mend them "
                f"with: codesign sweep --resume {run.folder}"
            ) from error
    return {name: plain_column(column) for name, column in found.items()}


def _name(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _csv(table: Table, path: Path) -> None:
    columns = table.to_numpy()
    labels = [field_label(name, Unit(table.units[name])) for name in columns]
    draft = {f"draft.{path}": unit for path, unit in path_units(Transformer).items()}
    units = {**path_units(Design), **draft}
    constant = {
        field_label(path, units[path]): _cell(value)
        for path, value in flat_values(table.inputs).items()
        if path not in columns
    }
    constant["unsure"] = doubts_text(table.unsure)
    constant |= {f"version of {k}": v for k, v in table.versions.items()}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*labels, *constant])
        for row in zip(*columns.values(), strict=True):
            writer.writerow([*map(_cell, row), *constant.values()])


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return json.dumps(value)
    return value.item() if isinstance(value, np.generic) else value


def _json(table: Table, path: Path) -> None:
    columns = {
        name: finite_or_none(column.tolist())
        for name, column in table.to_numpy().items()
    }
    data = {"columns": columns, **_notes(table)}
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _parquet(table: Table, path: Path) -> None:
    notes = {key: json.dumps(value) for key, value in _notes(table).items()}
    kept = ", ".join(f"{key}: {_text(value)}" for key, value in notes.items())
    with database() as base:
        base.register("rows", table.to_numpy())
        base.execute(
            f"COPY (SELECT * FROM rows) TO {_text(str(path))} "  # noqa: S608 - quoted
            f"(FORMAT parquet, KV_METADATA {{{kept}}})"
        )


def _text(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _notes(table: Table) -> dict[str, Any]:
    names = ("units", "inputs", "unsure", "versions")
    return {name: getattr(table, name) for name in names}
