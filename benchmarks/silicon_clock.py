"""How does the clock of one design follow the node it is built in?

Chips of families that were built in several nodes -> one exponent, and the clock of
each chip predicted from the others of its family with the exponent fitted without it.
"""

from dataclasses import dataclass

import numpy as np

from codesign.config.chips import chip_info

FAMILIES = {
    "NVIDIA": ("a100-sxm-80gb", "h100-sxm", "b200-sxm"),
    "AMD": ("mi250x", "mi300x", "mi355x"),
    "TPU": ("tpu-v4", "tpu-v4i"),
    "Tenstorrent": ("wormhole-n300", "blackhole-p150a"),
    "MTIA": ("mtia-v1", "mtia-v2"),
    "Gaudi": ("gaudi2", "gaudi3"),
}
"""Chips whose clocks are published; recalled and assumed ones are left out."""


@dataclass(frozen=True)
class Clock:
    """Published clock of a chip and its prediction from the rest of its family."""

    family: str
    name: str
    node: float
    clock: float
    predicted: float


def exponent(rows: list[tuple[str, float, float]]) -> tuple[float, float]:
    """Slope of ln f over ln(1 / n) within families, and its standard error."""
    deviations = []
    for family in {row[0] for row in rows}:
        own = np.log([row[1:] for row in rows if row[0] == family])
        deviations.append(own - own.mean(axis=0))
    x, y = np.concatenate(deviations).T
    slope = -float(x @ y / (x @ x))
    rest = y + slope * x
    freedom = len(x) - len(deviations) - 1
    return slope, float(np.sqrt(rest @ rest / freedom / (x @ x)))


def published() -> list[tuple[str, str, float, float]]:
    """Family, name, node and clock of every chip."""
    found = []
    for family, names in FAMILIES.items():
        for name in names:
            values = chip_info(name).values
            node, clock = (values[f"parameters.{k}"] for k in ("node", "clock"))
            assert clock.status == "verified", name
            found.append((family, name, node.value, clock.value))
    return found


def clocks() -> list[Clock]:
    """Each clock from the mean of the others of its family, left out of the fit."""
    rows = published()
    found = []
    for family, name, node, clock in rows:
        others = [(f, n, c) for f, other, n, c in rows if other != name]
        slope, _ = exponent(others)
        near = np.log([(n, c) for f, n, c in others if f == family]).mean(axis=0)
        predicted = float(np.exp(near[1] - slope * (np.log(node) - near[0])))
        found.append(Clock(family, name, node, clock, predicted))
    return found


def clock_page() -> list[str]:
    """The fit and its errors as lines of Markdown."""
    rows = clocks()
    slope, error = exponent([(f, n, c) for f, _, n, c in published()])
    off = [row.predicted / row.clock - 1 for row in rows]
    return [
        "## Clock by node",
        "",
        f"{len(rows)} chips of {len(FAMILIES)} families, 1 constant: clock grows as "
        f"1 / node^{slope:.2f} ± {error:.2f} within a family. Left out: mean "
        f"{np.mean(np.abs(off)):.0%}, worst {np.max(np.abs(off)):.0%}; the family's "
        f"mean without the node: mean {error_without_node(rows):.0%}.",
        "",
        "| chip | family | nm | GHz | left out |",
        "|---|---|---|---|---|",
        *(
            f"| {r.name} | {r.family} | {r.node * 1e9:.0f} | {r.clock / 1e9:.2f} | "
            f"{r.predicted / r.clock - 1:+.0%} |"
            for r in rows
        ),
    ]


def error_without_node(rows: list[Clock]) -> float:
    """Mean error of the mean clock of the family's other chips."""
    errors = []
    for row in rows:
        others = [
            other.clock
            for other in rows
            if other.family == row.family and other.name != row.name
        ]
        errors.append(abs(np.exp(np.log(others).mean()) / row.clock - 1))
    return float(np.mean(errors))
