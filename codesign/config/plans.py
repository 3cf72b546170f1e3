"""Which stacks are calibrated together, each to which measured runs?

``configs/plans/<name>.yaml`` and a folder of data -> the ``Part`` of every stack.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign.config.catalogue import read_preset
from codesign.config.yaml import Problems, problems_of

HEAD = ("name", "title", "aliases")
REQUIRED = ("rows", "chip", "constants")
OPTIONAL = ("source", "engine", "kernel_chip")


@dataclass(frozen=True)
class Part:
    """Runs that one stack is fitted to, and what is known before.

    ``chip`` is the name in the column ``gpu`` of ``rows``, or several with commas that
    share the stack; ``source`` and ``engine`` keep the rows of one source and serving
    engine; ``constants`` names what is fitted, with priors; powers of the single
    ``kernels`` of ``kernel_chip``, ``chip`` if empty, sharpen those of power.
    """

    rows: Path
    chip: str
    source: str = ""
    engine: str = ""
    constants: str | Path = "serving"
    kernels: tuple[Path, ...] = ()
    kernel_chip: str = ""


@dataclass(frozen=True)
class Plan:
    """Parts by the name of their stack, and the table of models."""

    name: str
    models: Path | None
    parts: Mapping[str, Part]


def load_plan(name_or_path: str | Path, *, data: Path) -> Plan:
    """A plan of a preset or file; its files lie in the folder ``data``.

    Raises:
        InputError: with every problem of the file, one per line.
    """
    document = read_preset("plans", name_or_path)
    problems = problems_of(document)
    for key in document.data:
        if key not in (*HEAD, "models", "kernels", "stacks"):
            problems.unknown_key(key, ["models", "kernels", "stacks"])
    kernels = _files(document.data, data=data, problems=problems)
    entries = document.data.get("stacks")
    if not isinstance(entries, dict) or not entries:
        problems.add("stacks", "expected a mapping of stacks to rows, chip, constants.")
        entries = {}
    parts = {
        str(stack): _part(
            entry,
            place=f"stacks.{stack}",
            data=data,
            kernels=kernels,
            problems=problems,
        )
        for stack, entry in entries.items()
    }
    problems.raise_if_any()
    models = document.data.get("models")
    return Plan(
        name=str(document.data.get("name", "")),
        models=data / str(models) if models else None,
        parts=parts,
    )


def _files(
    document: Mapping[str, Any], *, data: Path, problems: Problems
) -> tuple[Path, ...]:
    names = document.get("kernels") or []
    if not isinstance(names, list):
        problems.add("kernels", "expected a list of files.")
        return ()
    return tuple(data / str(name) for name in names)


def _part(
    entry: Any,
    *,
    place: str,
    data: Path,
    kernels: tuple[Path, ...],
    problems: Problems,
) -> Part:
    given = entry if isinstance(entry, dict) else {}
    problems.missing_keys(place, [key for key in REQUIRED if key not in given])
    for key in given:
        if key not in (*REQUIRED, *OPTIONAL):
            problems.unknown_key(f"{place}.{key}", [*REQUIRED, *OPTIONAL])
    texts = {key: str(given.get(key, "")) for key in (*REQUIRED, *OPTIONAL)}
    return Part(
        rows=data / texts["rows"],
        chip=texts["chip"],
        source=texts["source"],
        engine=texts["engine"],
        constants=texts["constants"],
        kernels=kernels if texts["kernel_chip"] else (),
        kernel_chip=texts["kernel_chip"],
    )
