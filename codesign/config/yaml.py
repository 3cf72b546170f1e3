"""What stands in a YAML file, on which line, and what is wrong with it?

Path -> plain Python data with the line of every dotted path. Problems of a
file are collected and raised together, one per line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from codesign.core.errors import InputError
from codesign.core.paths import nearest

LARGEST_FILE = 4 * 2**20
MOST_ENTRIES = 100_000  # aliases count each time they are used
DEEPEST = 40
LARGEST_WHOLE = 1e300  # larger ones are no floating point numbers
_TOO_DEEP = "nested deeper than any honest file."


@dataclass(frozen=True, eq=False)
class Document:
    """Content of a YAML file: plain data, and the line of each dotted path.

    A file that has not changed is the same document, so what is made of one may
    be cached by it.
    """

    file: str
    data: dict[str, Any]
    lines: dict[str, int]


@dataclass
class Problems:
    """Everything wrong with one file, so that a user mends it in one go.

    Example:
        >>> problems = Problems(file="study.yaml", lines={"chip.hbm_bv": 4})
        >>> problems.unknown_key("chip.hbm_bv", ["hbm_bw", "tdp"])
        >>> problems.text()
        'study.yaml:4  chip.hbm_bv: unknown key. Did you mean hbm_bw?'
    """

    file: str = "input"
    lines: dict[str, int] = field(default_factory=dict[str, int])
    found: list[str] = field(default_factory=list[str])

    def add(self, path: str, message: str) -> None:
        """Note a problem at a dotted path."""
        line = self._line(path)
        place = f"{self.file}:{line}" if line else self.file
        self.found.append(
            f"{place}  {path}: {message}" if path else f"{place}  {message}"
        )

    def unknown_key(self, path: str, known: list[str]) -> None:
        """Note a key that is not allowed, with the nearest that is."""
        close = nearest(path.rpartition(".")[2], known)
        hint = f"Did you mean {close[0]}?" if close else f"Allowed: {', '.join(known)}."
        self.add(path, f"unknown key. {hint}")

    def missing_keys(self, path: str, missing: list[str]) -> None:
        """Note the keys that a mapping lacks."""
        if missing:
            noun = "keys" if len(missing) > 1 else "key"
            self.add(path, f"missing {noun}: {', '.join(missing)}.")

    def text(self) -> str:
        """All problems, one per line."""
        return "\n".join(self.found)

    def raise_if_any(self) -> None:
        """Raise one ``InputError`` with all problems, or return."""
        if self.found:
            raise InputError(self.text())

    def _line(self, path: str) -> int | None:
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path.rpartition(".")[0]
        return None


def problems_of(document: Document) -> Problems:
    """An empty collection for the problems of a document."""
    return Problems(file=document.file, lines=document.lines)


def read_yaml(path: Path) -> Document:
    """Plain data of a YAML file with the line of every dotted path.

    Raises:
        InputError: with file and line, where the text is not YAML, repeats a
            key, is not a mapping, or is larger than any honest file.
    """
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"{path.name}: is larger than {LARGEST_FILE >> 20} MiB.")
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _read(path: Path, _version: int) -> Document:
    try:
        tree = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        reason = str(error.problem or error.context).partition("\n")[0]
        raise InputError(f"{path.name}{line}  not valid YAML: {reason}") from error
    except RecursionError as error:
        raise InputError(f"{path.name}: {_TOO_DEEP}") from error
    except (YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path.name}: not valid YAML: {reason}") from error
    if not isinstance(tree, CommentedMap):
        raise InputError(f"{path.name}:1  expected a mapping of keys to values.")
    lines: dict[str, int] = {}
    try:
        data = _plain(tree, path="", lines=lines)
    except RecursionError as error:
        raise InputError(f"{path.name}: {_TOO_DEEP}") from error
    return Document(file=path.name, data=data, lines=lines)


def _plain(node: Any, *, path: str, lines: dict[str, int]) -> Any:
    if len(lines) > MOST_ENTRIES or path.count(".") > DEEPEST:
        raise InputError(
            f"{path[:40]}: more than {MOST_ENTRIES} entries, or {_TOO_DEEP}"
        )
    if isinstance(node, CommentedMap):
        return {str(key): _item(node, key, path=path, lines=lines) for key in node}
    if isinstance(node, CommentedSeq):
        return [
            _item(node, index, path=path, lines=lines) for index in range(len(node))
        ]
    if isinstance(node, bool) or node is None:
        return node
    if isinstance(node, int) and abs(node) > LARGEST_WHOLE:
        raise InputError(f"{path[:80]}: a whole number beyond {LARGEST_WHOLE:.0e}.")
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return str(node)


def _item(node: Any, key: Any, *, path: str, lines: dict[str, int]) -> Any:
    below = f"{path}.{key}" if path else str(key)
    place = (node.lc.data or {}).get(key)
    if place is not None:
        lines[below] = int(place[0]) + 1
    return _plain(node[key], path=below, lines=lines)


class _Representer(RoundTripRepresenter):
    """Lists of numbers on one line, others one item per line."""

    def represent_list(self, data: list[Any]) -> Any:
        flow = bool(data) and all(isinstance(value, float) for value in data)
        tag = "tag:yaml.org,2002:seq"
        return self.represent_sequence(tag, data, flow_style=flow)


_Representer.add_representer(list, _Representer.represent_list)


def yaml_text(data: Mapping[str, Any]) -> str:
    """Plain data as YAML text, block style, keys in their order, numbers in lines."""
    writer = YAML()
    writer.default_flow_style = False
    writer.width = 4096
    writer.Representer = _Representer
    stream = StringIO()
    writer.dump(dict(data), stream)
    return stream.getvalue()
