"""Which designs lie in the folder of runs? Best ones of searches, points of fronts.

Folder -> its runs as plain data, and the design that a name stands for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from codesign.config.design import load_design
from codesign.core.errors import InputError
from codesign.explore.state import State, state_texts
from codesign.explore.view import TILES
from codesign.serving.design import Design
from codesign.study.query import list_runs
from codesign.study.runs import MANIFEST, RESULT, read_json

BEST = "best.yaml"
FRONT, DESIGNS = "front.json", "designs"


class Library:
    """The runs of one folder; names are plain, so nothing outside is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def runs(self) -> list[dict[str, Any]]:
        """Searches, newest first, then fronts; ``opens`` where there is a design."""
        if not self.folder.is_dir():
            return []
        found = list_runs(self.folder)[::-1]
        for run in found:
            run["opens"] = (self.folder / str(run["run"]) / BEST).is_file()
        known = {run["run"] for run in found}
        fronts = [path.parent.name for path in sorted(self.folder.glob(f"*/{FRONT}"))]
        return found + [
            {"run": name, "kind": "pareto", "opens": True, "status": "front"}
            for name in fronts
            if name not in known
        ]

    def run(self, name: str) -> dict[str, Any]:
        """State of a search's best design with its rungs, or the points of a front.

        Raises:
            InputError: no such run, or one that cannot be read.
        """
        folder = self._place(name)
        if (folder / FRONT).is_file():
            return _front(folder)
        manifest, result = (read_json(folder / file) for file in (MANIFEST, RESULT))
        return {
            "run": name,
            "state": state_texts(State(source=name)),
            "minimize": manifest.get("minimize"),
            "status": manifest.get("status"),
            "rungs": [
                {
                    "name": rung.get("name"),
                    "feasible": rung.get("feasible"),
                    "metrics": _headline(rung.get("cost") or {}),
                }
                for rung in result.get("rungs", [])
            ],
        }

    def design(self, source: str) -> Design:
        """The design of ``run`` or, of a front, ``run/index``.

        Raises:
            InputError: there is none of that name.
        """
        name, _, index = source.partition("/")
        folder = self._place(name)
        file = folder / BEST
        if index:
            points = {path.stem: path for path in (folder / DESIGNS).glob("*.yaml")}
            if index not in points:
                raise InputError(f'{name}: has no design "{index}".')
            file = points[index]
        return jax.device_get(load_design(file))

    def _place(self, name: str) -> Path:
        known = {path.name: path for path in self.folder.glob("*") if path.is_dir()}
        if name not in known:
            raise InputError(f'no run is called "{name}" in {self.folder.name}.')
        return known[name]


def _front(folder: Path) -> dict[str, Any]:
    data = read_json(folder / FRONT)
    y, x = list(data.get("units") or {})[:2]
    points = [
        {
            "x": design[x],
            "y": design[y],
            "state": state_texts(State(source=f"{folder.name}/{index:02d}")),
        }
        for index, design in enumerate(data.get("designs") or [])
    ]
    return {"run": folder.name, "x": x, "y": y, "points": points}


def _headline(cost: Mapping[str, Any]) -> dict[str, Any]:
    return {path: cost.get(path) for path, _, _ in TILES if path in cost}
