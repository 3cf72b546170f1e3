"""Which method found what, and when? The table of all stored runs."""

import math
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.optimizer import best, cells
from benchmarks.optimizer.arena import PROBLEMS
from benchmarks.optimizer.cells import OURS, Cell
from benchmarks.optimizer.fronts import FRONTS, MULTIPLES, volumes
from benchmarks.optimizer.methods import METHODS

READING = Path(__file__).resolve().parent / "reading.md"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "optimizer.md"
NEAR, CLOSE = 0.01, 0.005  # regret that counts as found, and the gate of our search
STATED = (
    "method",
    "runs",
    "regret, equal time",
    "regret, end",
    "worst",
    "<= 0.5 %",
    "<= 1 %",
    "CPU s to 1 %",
    "CPU s",
    "wall s",
    "designs",
)


def write_page(absent: Sequence[str]) -> None:
    """The page of all cells that are stored."""
    found = cells.every()
    single = [cell for cell in found if "kind" not in cell]
    lines = _head(found, absent)
    for name in [path.stem for path in sorted(PROBLEMS.glob("*.yaml"))]:
        mine = [cell for cell in single if cell["problem"] == name]
        if mine:
            lines += _problem(name, mine)
    lines += _fronts([cell for cell in found if "kind" in cell])
    lines += ["", READING.read_text(encoding="utf-8").rstrip()]
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _head(found: Sequence[Cell], absent: Sequence[str]) -> list[str]:
    loads = [cell["load"] for cell in found] or [math.nan]
    lines = [
        "# The search against its rivals",
        "",
        "`python -m benchmarks.optimizer` writes this page from the runs under",
        "`benchmarks/results/optimizer`; how often each method ran stands beside it.",
        "",
        "Every method minimises the hard cost and quality model over the same legal",
        "designs, choices included, from the same tuned baseline, with whole batches",
        "of designs at a time. Rivals minimise ln objective + 10 x the sum of",
        "ln(use / limit), take their packages' defaults and run for a multiple of the",
        "processor seconds that our search takes on that problem (*equal time* is",
        "once). SLSQP with our gradients feeds our discrete stages; it and our search",
        "stop by themselves. Compilation is in nobody's time. *Regret* is the",
        "objective over that of the best design known of the problem, minus one: no",
        "bound, it may improve. *Worst* is over the runs; *none legal* is a run",
        "without any design that keeps the limits, and it counts as infinite.",
        "",
        f"Load while it ran on {os.cpu_count()} shared cores: {min(loads):.1f} to",
        f"{max(loads):.1f}. So wall seconds say little, and processor seconds are the",
        "budget.",
    ]
    if absent:
        lines += ["", f"Not installed, and left out: {', '.join(absent)}."]
    return lines


def _problem(name: str, mine: Sequence[Cell]) -> list[str]:
    text = (PROBLEMS / f"{name}.yaml").read_text(encoding="utf-8")
    target = _target(name, mine)
    equal = cells.own_seconds(list(mine), name)
    lines = [
        "",
        f"## {name}",
        "",
        f"{text.splitlines()[0].lstrip('# ')} Best known {target:.6g} "
        f"({best.known().get(name, {}).get('method', 'a run here')}); "
        f"our search takes {equal:.0f} CPU s.",
        "",
        f"| {' | '.join(STATED)} |",
        "|---" * len(STATED) + "|",
    ]
    for method in METHODS:
        runs = [cell for cell in mine if cell["method"] == method]
        if runs:
            lines.append(_row(method, runs, target=target, equal=equal))
    faults = [
        f"{c['method']} {c['seed']}: {c['failure']}" for c in mine if c["failure"]
    ]
    return [*lines, *(["", "Broke off: " + "; ".join(faults)] if faults else [])]


def _target(name: str, mine: Sequence[Cell]) -> float:
    """Best objective of the runs, or of the design known under this landscape."""
    entry = best.known().get(name, {})
    fresh = entry.get("landscape") in {cell["landscape"] for cell in mine}
    reached = [cells.reached(cell, math.inf) for cell in mine]
    return min([*reached, *([entry["objective"]] if fresh else [])])


def _row(method: str, runs: Sequence[Cell], *, target: float, equal: float) -> str:
    alone = method == OURS
    ends = [cells.reached(cell, math.inf) / target - 1 for cell in runs]
    even = [cells.reached(cell, equal) / target - 1 for cell in runs]
    times = [cells.moment(cell, target * (1 + NEAR)) for cell in runs]
    texts = [
        f"**{method}**" if alone else method,
        str(len(runs)),
        _percent(statistics.median(ends if alone else even)),
        _percent(statistics.median(ends)),
        _percent(max(ends)),
        f"{sum(end <= CLOSE for end in ends)} of {len(runs)}",
        f"{sum(end <= NEAR for end in ends)} of {len(runs)}",
        _seconds(statistics.median(times)),
        f"{statistics.median(cell['cpu'] for cell in runs):.0f}",
        f"{statistics.median(cell['wall'] for cell in runs):.0f}",
        f"{statistics.median(cell['evaluations'] for cell in runs):.2g}",
    ]
    return f"| {' | '.join(texts)} |"


def _percent(share: float) -> str:
    return "none legal" if math.isinf(share) else f"{100 * share:.2f} %"


def _seconds(moment: float) -> str:
    return "never" if math.isinf(moment) else f"{moment:.1f}"


def _fronts(found: Sequence[Cell]) -> list[str]:
    if not found:
        return []
    lines = [
        "",
        "## Fronts",
        "",
        "`cd.pareto` against NSGA-II: hypervolume in ln units within the worst ends of",
        "our fronts, median of the seeds, of as many designs: theirs are the best at",
        "each of our levels. The ratio is ours over theirs, worst seed in brackets.",
        "",
        "| problem | traded | seeds | ours | CPU s | "
        + " | ".join(f"NSGA-II, {factor:g}x | ratio" for factor in MULTIPLES)
        + " |",
        "|---" * (5 + 2 * len(MULTIPLES)) + "|",
    ]
    for name in FRONTS:
        mine = [cell for cell in found if cell["problem"] == name]
        if mine:
            lines.append(_front_row(name, mine))
    return lines


def _front_row(name: str, mine: Sequence[Cell]) -> str:
    own = [OURS in cell["method"] for cell in mine]
    sizes = volumes([cell["points"] for cell in mine], ours=own)
    by_method: dict[str, dict[int, float]] = {}
    for cell, size in zip(mine, sizes, strict=True):
        by_method.setdefault(cell["method"], {})[cell["seed"]] = size
    ours = by_method[f"front {OURS}"]
    spent = [cell["cpu"] for cell, mine_ in zip(mine, own, strict=True) if mine_]
    texts = [
        name,
        FRONTS[name],
        str(len(ours)),
        f"{statistics.median(ours.values()):.3f}",
    ]
    texts.append(f"{statistics.median(spent):.0f}")
    for factor in MULTIPLES:
        theirs = by_method[f"front NSGA-II {factor:g}x"]
        ratios = [
            ours[seed] / theirs[seed] if theirs[seed] else math.inf for seed in ours
        ]
        texts.append(f"{statistics.median(theirs.values()):.3f}")
        texts.append(f"{statistics.median(ratios):.3f} ({min(ratios):.3f})")
    return f"| {' | '.join(texts)} |"
