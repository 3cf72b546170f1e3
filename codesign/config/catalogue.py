"""Which presets exist, and which file does a name, alias or path mean?

Kind (``codesign/config/kinds.py``) and a name -> the YAML file. Names are matched
without case; unknown is an error.
"""

import re
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from codesign.config.kinds import KINDS
from codesign.config.yaml import Document, read_yaml
from codesign.core.errors import InputError, UnknownNameError
from codesign.core.paths import nearest

TITLE = re.compile(r"^title:.*(?:\n[ ].*)*", re.MULTILINE)
ALIASES = re.compile(r"^aliases:.*(?:\n[ \-\]].*)*", re.MULTILINE)


@cache
def presets_directory() -> Path:
    """Folder of the shipped presets, in an installed package or a checkout."""
    packaged = Path(str(files("codesign"))) / "configs"
    return packaged if packaged.is_dir() else packaged.parents[1] / "configs"


def list_presets(kind: str) -> list[str]:
    """Names of all presets of a kind, sorted."""
    return sorted(path.stem for path in _preset_files(kind))


def list_aliases(kind: str) -> dict[str, str]:
    """Preset of each alias, as the aliases are written in the files."""
    return {
        alias: path.stem for path in _preset_files(kind) for alias in _aliases(path)
    }


def preset_title(kind: str, name: str) -> str:
    """Title of a preset; a file without one is described by its first comment.

    Only these lines are read; parsing all files takes seconds.
    """
    text = find_preset(kind, name).read_text(encoding="utf-8")
    found = TITLE.search(text)
    if found is not None:
        head: dict[str, Any] = YAML(typ="safe").load(found.group())
        return str(head["title"])
    first, *_ = text.splitlines() or [""]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def find_preset(kind: str, name: str | Path) -> Path:
    """File of a preset by name or alias, or the file that a path names.

    Raises:
        UnknownNameError: with the nearest names and how to list all.
    """
    given = Path(name)
    if given.suffix in {".yaml", ".yml"}:
        if given.is_file():
            return given
        raise InputError(f"{given}: no such file.")
    exact = presets_directory() / kind / f"{given.name}.yaml"
    if given.name == str(name) and kind in KINDS and exact.is_file():
        return exact
    wanted = str(name).casefold()
    found = {path.stem.casefold(): path for path in _preset_files(kind)}
    if wanted in found:
        return found[wanted]
    directory = presets_directory() / kind
    aliases = {key.casefold(): stem for key, stem in list_aliases(kind).items()}
    if wanted in aliases:
        return directory / f"{aliases[wanted]}.yaml"
    raise UnknownNameError(_unknown(kind, str(name)))


def read_preset(kind: str, name: str | Path) -> Document:
    """Content of a preset's file."""
    return read_yaml(find_preset(kind, name))


def _preset_files(kind: str) -> list[Path]:
    if kind not in KINDS:
        raise UnknownNameError(f"{kind}: no such kind of preset; {', '.join(KINDS)}.")
    return sorted((presets_directory() / kind).glob("*.yaml"))


def _aliases(path: Path) -> tuple[str, ...]:
    return _aliases_of(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=512)
def _aliases_of(path: Path, _version: int) -> tuple[str, ...]:
    """Only the lines of ``aliases``; parsing whole files takes 50 times as long."""
    found = ALIASES.search(path.read_text(encoding="utf-8"))
    if found is None:
        return ()
    head: dict[str, Any] = YAML(typ="safe").load(found.group())
    return tuple(str(alias) for alias in head["aliases"] or [])


def _unknown(kind: str, name: str) -> str:
    known = [*list_presets(kind), *list_aliases(kind)]
    folded = {key.casefold(): key for key in known}
    close = [folded[key] for key in nearest(name.casefold(), list(folded))]
    near = f" Close: {', '.join(close)}." if close else ""
    return (
        f'{kind}: no preset is called "{name}".{near} '
        'All names: "codesign presets". A path to a YAML file works too.'
    )
