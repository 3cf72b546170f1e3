"""What has been run? One file per problem, method and seed, so that runs continue."""

import json
import math
import os
import re
import statistics
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results" / "optimizer"
OURS = "codesign"
Cell = dict[str, Any]


def place(problem: str, method: str, *, seed: int) -> Path:
    """File of a cell."""
    plain = re.sub(r"[^a-z0-9]+", "_", method.lower()).strip("_")
    return RESULTS / problem / f"{plain}-{seed}.json"


def read(problem: str, method: str, *, seed: int) -> Cell | None:
    """A stored cell, None if there is none."""
    path = place(problem, method, seed=seed)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def write(cell: Cell) -> None:
    """Store a cell, whole or not at all."""
    path = place(cell["problem"], cell["method"], seed=cell["seed"])
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    cell = {**cell, "load": round(os.getloadavg()[0], 1)}
    part.write_text(json.dumps(cell) + "\n", encoding="utf-8")
    part.replace(path)


def every() -> list[Cell]:
    """All stored cells, by problem and method."""
    files = sorted(RESULTS.glob("*/*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in files]


def own_seconds(cells: list[Cell], problem: str) -> float:
    """Median processor seconds of our search on a problem; NaN if it has not run."""
    spent = [c["cpu"] for c in cells if (c["problem"], c["method"]) == (problem, OURS)]
    return statistics.median(spent) if spent else math.nan


def reached(cell: Cell, seconds: float) -> float:
    """Best legal objective within processor seconds; infinite if there was none."""
    found = [step[3] for step in cell["history"] if step[0] <= seconds]
    return found[-1] if found else math.inf


def moment(cell: Cell, objective: float) -> float:
    """Processor seconds to an objective; infinite if it was not reached."""
    return next((s[0] for s in cell["history"] if s[3] <= objective), math.inf)
