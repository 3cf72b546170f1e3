"""How does a record read in a notebook and in a terminal? Small tables with units.

Record -> rows of field and value with unit -> text or HTML. Quantities are
written by the function that knows prefixes once that is loaded, else in SI.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from html import escape
from typing import Any, get_type_hints

import jax
import numpy as np
from jax.core import Tracer

from codesign.core.quantities import Unit, unit_of

Row = tuple[str, ...]
Writer = Callable[[float, Unit], str]

STYLE = "text-align:left; padding:0 1.2em 0 0"
TRACED = "traced"
DIGITS = 4


def _plain(value: float, unit: Unit) -> str:
    number = f"{value:.{DIGITS}g}"
    return number if unit.text == "1" else f"{number} {unit.text}"


@dataclass
class _Format:
    """Writes quantities; the package's own writer takes its place."""

    write: Writer = _plain


_FORMAT = _Format()


def use_writer(write: Writer) -> None:
    """Let a function that knows prefixes write quantities from now on."""
    _FORMAT.write = write


def quantity_text(value: Any, unit: Unit) -> str:
    """A number with its unit; the range of an array; a word for a tracer.

    Example:
        >>> quantity_text(np.array([1.0, 3.5]), Unit("1"))
        '1 to 3.5, 2 values'
    """
    if isinstance(value, Tracer):
        return TRACED
    array = np.asarray(value, np.float64)
    if array.ndim == 0:
        return _FORMAT.write(float(array), unit)
    if not array.size:
        return "no values"
    ends = [_FORMAT.write(float(end), unit) for end in (array.min(), array.max())]
    return f"{ends[0]} to {ends[1]}, {array.size} values"


def record_rows(record: Any) -> Iterator[tuple[str, str]]:
    """Fields of a record with their values; records inside in one line each."""
    hints = get_type_hints(type(record), include_extras=True)
    for field in fields(record):
        value, unit = getattr(record, field.name), unit_of(hints[field.name])
        if unit is not None:
            yield field.name, quantity_text(value, unit)
        elif is_dataclass(value):
            count = len(jax.tree.leaves(value))
            yield field.name, f"{type(value).__name__}, {count} fields"
        else:
            yield field.name, "none" if value is None else type(value).__name__


def record_text(record: Any) -> str:
    """A record as text, one field a line."""
    rows = list(record_rows(record))
    return f"{type(record).__name__}\n{text_table(rows)}"


def record_html(record: Any) -> str:
    """A record as a table; records inside fold out."""
    summary = (type(record).__doc__ or "").partition("\n")[0]
    return _section(record, title=f"{type(record).__name__}: {summary}", level=0)


def _section(record: Any, *, title: str, level: int) -> str:
    inner = [
        (field.name, value)
        for field in fields(record)
        if is_dataclass(value := getattr(record, field.name))
    ]
    names = {name for name, _ in inner}
    rows = [row for row in record_rows(record) if row[0] not in names]
    parts = [html_table(("field", "value"), rows)] if rows else []
    parts += [_section(value, title=name, level=level + 1) for name, value in inner]
    body = "".join(parts)
    if level == 0:
        return f"<div><strong>{escape(title)}</strong>{body}</div>"
    shown = f"<summary>{escape(title)}: {type(record).__name__}</summary>"
    return f'<details style="margin-left:1em">{shown}{body}</details>'


def text_table(rows: Sequence[Row]) -> str:
    """Rows as lines, columns aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def html_table(columns: Row, rows: Sequence[Row], *, note: str = "") -> str:
    """Rows as an HTML table that needs no style sheet."""
    head = "".join(f'<th style="{STYLE}">{escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{STYLE}">{escape(cell)}</td>' for cell in row)
        + "</tr>"
        for row in rows
    )
    below = f"<p>{escape(note)}</p>" if note else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"{table}{below}"
