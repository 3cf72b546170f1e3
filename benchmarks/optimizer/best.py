"""What is the best design known of each problem? It may only become better.

Kept as values of the variables, and priced anew under the model of the day.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.optimizer.arena import Arena

FILE = Path(__file__).resolve().parent / "best.json"


def known() -> dict[str, Any]:
    """Entries by problem."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}


def improve(arena: Arena, *, method: str, seed: int) -> None:
    """Keep what a run has found if it is better than what is known."""
    ledger, entries = arena.ledger, known()
    if ledger.values is None:
        return
    objective = ledger.history[-1][3]
    entry = entries.get(arena.name)
    if entry and arena.price(entry["values"]) <= objective:
        return
    values = map(float, ledger.values)
    entries[arena.name] = {
        "objective": objective,
        "landscape": arena.landscape(),
        "method": method,
        "seed": seed,
        "values": dict(zip(arena.space.paths, values, strict=True)),
    }
    text = json.dumps(dict(sorted(entries.items())), indent=1)
    FILE.write_text(f"{text}\n", encoding="utf-8")
