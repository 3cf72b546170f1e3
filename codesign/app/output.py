"""How do tables and JSON reach the terminal?"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from codesign.core.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from codesign.report.tables import Table

WIDTH = 120  # of output that no terminal shows
TONES = {"good": "green", "bad": "red"}
PACKAGES = ("codesign", "jax", "jaxlib", "flax", "optax", "numpy")


def console() -> "Console":
    """A console on standard output, wide enough for tables when it is a file."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH
    return Console(width=width, highlight=False, soft_wrap=False)


def show_table(screen: "Console", table: "Table") -> None:
    """Print a table of texts: the first column to the left, numbers to the right."""
    from rich import box, text
    from rich import table as rich_table

    shown = rich_table.Table(
        title=table.title,
        title_justify="left",
        title_style="bold",
        caption=table.note or None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for index, name in enumerate(table.columns):
        left = not all(_is_number(row[index]) for row in table.rows)
        shown.add_column(
            text.Text(name), justify="left" if left else "right", overflow="fold"
        )
    for row, cells in enumerate(table.rows):
        shown.add_row(
            *(
                text.Text(cell, style=TONES.get(table.tones.get((row, column), ""), ""))
                for column, cell in enumerate(cells)
            )
        )
    screen.print(shown)


def _is_number(cell: str) -> bool:
    return not cell or cell[0].isdigit() or cell[0] in "+-−×±–∞"


def print_json(data: Mapping[str, Any]) -> None:
    """Print plain data as JSON; numbers that JSON cannot hold are null."""
    typer.echo(json_text(data))


def json_text(data: Mapping[str, Any]) -> str:
    """Plain data as JSON text."""
    import json

    from codesign.study.plain import finite_or_none

    return json.dumps(finite_or_none(dict(data)), indent=2, ensure_ascii=False)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    import platform

    return {"python": platform.python_version()} | {
        name: package_version(name) for name in PACKAGES
    }


def package_version(name: str) -> str:
    """Version of an installed package; of this one also from a bare source tree."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return own_version() if name == "codesign" else "not installed"


def own_version() -> str:
    """Version of this package, without an import of the root."""
    return str(sys.modules["codesign"].__version__)


def write_output(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let a function write another file, then rename that to the path.

    Raises:
        InputError: the folder does not exist or cannot be written.
    """
    from codesign.study.runs import write_whole as run

    try:
        run(path, write)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}).") from error
