"""Which serving stack did a measured run use? Chip, engine and version tell.

A measured row -> the name of a stack.
"""

import functools
import math
import re
from dataclasses import dataclass

from codesign.config.catalogue import find_preset, list_presets
from codesign.config.chips import chip_info
from codesign.config.rows import MeasuredRow
from codesign.config.stacks import stack_info

SERVES = "serves:"
NUMBERS = re.compile(r"\d+(?:\.\d+)*")
NEWEST = (math.inf,)

Version = tuple[float, ...]


@dataclass(frozen=True)
class Server:
    """A stack that says whose runs it predicts: chips, and engines from a version."""

    stack: str
    chips: tuple[str, ...]
    engines: dict[str, Version]


def engine_of(row: MeasuredRow) -> str:
    """Name of the engine of a run without its version; empty where not known."""
    return row.framework.strip().partition(" ")[0]


def stack_of(row: MeasuredRow) -> str:
    """Name of the stack of a run.

    In turn: the stack that serves the engine in this version on the chip, one named
    after the release (``vllm-0.5-...`` for ``vllm 0.5.4``; that of the chip before
    another's), the chip's own. A
    version that is no number (a nightly build) is newer than all; without a version
    only a table of fixed lengths, which holds tuned runs, asks for the first.
    """
    chip = chip_info(row.chip)
    engine, _, text = row.framework.strip().partition(" ")
    version = text.strip()
    if version or row.fixed_lengths:
        for server in _servers():
            first = server.engines.get(engine)
            if first is None or chip.name not in server.chips:
                continue
            if _version(version) >= first:
                return server.stack
    release = f"{engine}-{'.'.join(version.split('.')[:2])}-"
    same = [stack for stack in list_presets("stacks") if stack.startswith(release)]
    if not version or chip.stack in same or not same:
        return chip.stack
    own = [s for s in same if chip.name.startswith(s.removeprefix(release))]
    return (own or same)[0]


def _version(text: str) -> Version:
    found = NUMBERS.match(text)
    return tuple(float(part) for part in found.group().split(".")) if found else NEWEST


@functools.cache
def _servers() -> tuple[Server, ...]:
    found: list[Server] = []
    for name in list_presets("stacks"):
        if SERVES in find_preset("stacks", name).read_text(encoding="utf-8"):
            serves = stack_info(name).serves
            engines = serves["engines"]
            found.append(
                Server(
                    stack=name,
                    chips=tuple(chip_info(chip).name for chip in serves["chips"]),
                    engines={key: _first(text) for key, text in engines.items()},
                )
            )
    return tuple(found)


def _first(text: object) -> Version:
    """First version served; empty text means any."""
    return _version(str(text)) if str(text) else (0.0,)
