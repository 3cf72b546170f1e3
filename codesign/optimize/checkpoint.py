"""How does a search that was stopped go on where it was?

State after each stage <-> one file per search, written whole, that only the same
question to the same program reads again.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from codesign.core.errors import InputError
from codesign.optimize.programs import sources_digest

Arrays = dict[str, NDArray[np.float64]]
FACTS, ABOUT = "facts", "about"
UNREADABLE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile)


class Kept(NamedTuple):
    """State of a search: arrays, to the last bit, and facts for JSON."""

    arrays: Arrays
    facts: dict[str, Any]


class Checkpoint:
    """A folder of states, one file per search of a run.

    ``about`` is a digest of the question and of the program; a folder that holds
    states of another one is refused.
    """

    def __init__(self, folder: str | Path, *, about: str) -> None:
        self.folder = Path(folder)
        self.about = about

    def recall(self, name: str) -> Kept | None:
        """The state of a search; None if there is none that can be read.

        Raises:
            InputError: it belongs to another study, seed or version.
        """
        path = self._path(name)
        try:
            with path.open("rb") as opened, np.load(opened) as file:
                facts = json.loads(str(file[FACTS]))
                arrays = {key: file[key] for key in file.files if key != FACTS}
            about = facts.pop(ABOUT)
        except UNREADABLE:
            return None
        if about != self.about:
            raise InputError(
                f"{path}: was kept for another study, seed or version of codesign. "
                "Start a new run in a new folder."
            )
        return Kept(arrays, facts)

    def keep(self, name: str, state: Kept) -> None:
        """Write a state; readers see the old one or the new one.

        Raises:
            InputError: the folder cannot be written.
        """
        path = self._path(name)
        part = path.with_name(f".{path.stem}.{os.getpid()}.npz")
        facts = json.dumps({**state.facts, ABOUT: self.about})
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                arrays: dict[str, Any] = {**state.arrays, FACTS: np.array(facts)}
                np.savez(file, **arrays)
            part.replace(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}).") from None
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    def about_more(
        self, known: Mapping[str, Any], *, arrays: Iterable[Any]
    ) -> "Checkpoint":
        """The same folder for states of a question that holds more than this one."""
        about = digest({**known, "of": self.about}, arrays=arrays)
        return Checkpoint(self.folder, about=about)


def digest(known: Mapping[str, Any], *, arrays: Iterable[Any]) -> str:
    """Digest of a question to this program: texts, numbers, sources, versions."""
    packages = {name: version(name) for name in ("jax", "jaxlib", "numpy", "optax")}
    facts = {**known, **packages, "sources": sources_digest()}
    facts["backend"] = jax.default_backend()
    found = hashlib.sha256(json.dumps(facts, sort_keys=True, default=repr).encode())
    for array in arrays:
        found.update(np.asarray(array, np.float64).tobytes())
    return found.hexdigest()[:32]
