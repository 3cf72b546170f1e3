"""With what does a design have to live? Uncertain constants, and a link between pools.

Sections ``robust`` and ``split`` of a study file -> the same, checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codesign.config.units import parse_quantity
from codesign.config.yaml import Problems
from codesign.core.errors import UnitError
from codesign.core.quantities import Unit

ROBUST_KEYS = ("over", "draws", "limits", "objective", "seed")
HANDOFF_UNITS = {
    "bandwidth": Unit("B/s"),
    "latency": Unit("s"),
    "energy": Unit("J/B"),
}
SPLIT_KEYS = tuple(HANDOFF_UNITS)
GROUPS = ("technology", "chip", "stack", "quality")
FEWEST_DRAWS = 4
MEAN = "mean"


@dataclass(frozen=True)
class Chances:
    """Draws of uncertain constants that a design has to live with.

    Every limit holds in the share ``limits`` of the draws; the objective is its
    mean over them, or its quantile ``objective``.
    """

    over: tuple[str, ...] = ("technology", "stack")
    draws: int = 16
    limits: float = 0.9
    objective: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Handoff:
    """The link over which a prefill chip hands keys and values to a decode chip.

    Bytes per second of one chip, seconds per request, joules per byte.
    """

    bandwidth: float
    latency: float
    energy: float


def read_chances(data: Mapping[str, Any], problems: Problems) -> Chances | None:
    """Draws that a study's design has to live with; None without the section."""
    section = data.get("robust")
    if section is None:
        return None
    if not is_mapping(section, "robust", problems=problems, known=ROBUST_KEYS):
        return None
    over = names_of(section.get("over", list(Chances.over)))
    for name in over:
        if name not in GROUPS:
            allowed = ", ".join(GROUPS)
            problems.add("robust.over", f"{name!r} is none of {allowed}.")
    draws = section.get("draws", Chances.draws)
    if not isinstance(draws, int) or draws < FEWEST_DRAWS or draws & (draws - 1):
        message = f"expected 4, 8, 16, 32 ... draws, found {draws!r}."
        problems.add("robust.draws", message)
    seed = section.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        problems.add("robust.seed", f"expected a whole number, found {seed!r}.")
    level = section.get("objective", MEAN)
    return Chances(
        over=over,
        draws=draws,
        limits=_share(
            section.get("limits", Chances.limits), "limits", problems=problems
        ),
        objective=None
        if level == MEAN
        else _share(level, "objective", problems=problems),
        seed=seed,
    )


def read_handoff(data: Mapping[str, Any], problems: Problems) -> Handoff | None:
    """The link between a prefill and a decode pool; None without the section."""
    section = data.get("split")
    if section is None:
        return None
    if not is_mapping(section, "split", problems=problems, known=SPLIT_KEYS):
        return None
    problems.missing_keys("split", [key for key in SPLIT_KEYS if key not in section])
    found: dict[str, float] = {}
    for key in [key for key in SPLIT_KEYS if key in section]:
        try:
            found[key] = parse_quantity(section[key], HANDOFF_UNITS[key], name=key)
        except UnitError as error:
            problems.add(f"split.{key}", str(error))
    if len(found) < len(SPLIT_KEYS):
        return None
    if found["bandwidth"] <= 0 or min(found.values()) < 0:
        problems.add("split", "bandwidth is positive, latency and energy are not < 0.")
    return Handoff(**found)


def is_mapping(
    content: Any,
    place: str,
    *,
    problems: Problems,
    known: tuple[str, ...] | None = None,
) -> bool:
    """Whether an entry is a mapping; what is wrong with its keys is noted."""
    if not isinstance(content, dict):
        message = f"expected a mapping of keys to values, found {content!r}."
        problems.add(place, message)
        return False
    for key in content:
        if known is not None and key not in known:
            problems.unknown_key(f"{place}.{key}", list(known))
    return True


def names_of(content: Any) -> tuple[str, ...]:
    """Names of an entry that is one of them or a list."""
    return tuple(map(str, content if isinstance(content, list) else [content]))


def _share(value: Any, key: str, *, problems: Problems) -> float:
    if not isinstance(value, int | float) or not 0.0 < value < 1.0:
        message = f"expected a share of draws between 0 and 1, found {value!r}."
        problems.add(f"robust.{key}", message)
        return 0.5
    return float(value)
