"""Which constants of nature, fab and data centre are shipped, and who says so?

``configs/technology/`` -> ``Technology``, ``Style`` and kinds of memory and
links, each value with its spread and source.
"""

from functools import lru_cache
from typing import Any, get_type_hints

from codesign.config.catalogue import read_preset
from codesign.config.records import ValueInfo, read_values, record_from_values
from codesign.config.yaml import Document, problems_of
from codesign.core.checks import check_x64
from codesign.core.errors import UnknownNameError
from codesign.core.paths import nearest
from codesign.core.quantities import (
    Bytes,
    BytesPerSecond,
    Count,
    Factor,
    Fraction,
    JoulesPerByte,
    Meters,
    Seconds,
    SquareMeters,
    SquareMetersPerByte,
    UsdPerByte,
    WattsPerByte,
)
from codesign.core.record import Record
from codesign.hardware.chip import Arrays, Style
from codesign.technology.constants import Technology

TECHNOLOGY_FILES = {
    "nodes": "nodes",
    "arithmetic": "arithmetic",
    "sram": "sram",
    "link": "serdes",
    "hbm": "hbm",
    "dram": "dram",
    "fab": "fab",
    "datacenter": "datacenter",
}


class MemoryKind(Record):
    """Constants of one kind of off-chip memory; see ``Dram``."""

    generation: Count
    stack_capacity: Bytes
    stack_bandwidth: BytesPerSecond
    device_energy: JoulesPerByte
    standby_power: WattsPerByte
    price: UsdPerByte
    phy_area: SquareMeters
    edge: Meters
    overhang: Meters
    footprint: SquareMeters
    cooling_factor: Factor


class StoreKind(Record):
    """Constants of one kind of cells for weights; see ``Store``."""

    cell_area: SquareMetersPerByte
    read_energy: JoulesPerByte
    write_energy: JoulesPerByte
    rewrite_time: Seconds
    fixed_fraction: Fraction
    in_place_fraction: Fraction
    arrays: Arrays


class LinkKind(Record):
    """Constants of one kind of link; see ``Link``."""

    energy: JoulesPerByte
    hop_latency: Seconds


class Partition(Record):
    """Shares of SRAM for tiles, resident weights and KV; activations the rest."""

    tile_fraction: Fraction
    weight_fraction: Fraction
    kv_fraction: Fraction


class StyleEntry(Record):
    """A style of architecture and how chips of that style divide their SRAM."""

    constants: Style
    partition: Partition


def load_technology() -> Technology:
    """The shipped technology, every leaf at its central value.

    Example:
        >>> import codesign.core.checks
        >>> codesign.core.checks.enable_x64()
        >>> round(float(load_technology().arithmetic.energy_16bit) * 1e12, 2)
        0.59
    """
    check_x64()
    return _technology(_documents())


def technology_values() -> dict[str, ValueInfo]:
    """Value, spread and source of every leaf of ``Technology``, by dotted path."""
    return dict(_values(_documents()))


def _documents() -> tuple[Document, ...]:
    return tuple(read_preset("technology", file) for file in TECHNOLOGY_FILES.values())


@lru_cache(maxsize=4)
def _technology(documents: tuple[Document, ...]) -> Technology:
    values = {path: info.value for path, info in _values(documents).items()}
    return record_from_values(Technology, values)


@lru_cache(maxsize=4)
def _values(documents: tuple[Document, ...]) -> dict[str, ValueInfo]:
    parts = get_type_hints(Technology)
    found: dict[str, ValueInfo] = {}
    for name, document in zip(TECHNOLOGY_FILES, documents, strict=True):
        problems = problems_of(document)
        infos = read_values(parts[name], document.data, problems=problems, prefix="")
        problems.raise_if_any()
        found |= {f"{name}.{path}": info for path, info in infos.items()}
    return found


def load_style(name: str) -> Style:
    """Constants of a style of architecture, such as ``gpu-hopper``."""
    values = {path: info.value for path, info in style_values(name).items()}
    return record_from_values(StyleEntry, values).constants


def style_values(name: str) -> dict[str, ValueInfo]:
    """Value, spread and source of every leaf of a ``StyleEntry``."""
    return _kind_values("styles", name, record_type=StyleEntry)


def memory_values(name: str) -> dict[str, ValueInfo]:
    """Value, spread and source of every leaf of a kind of memory."""
    return _kind_values("memory", name, record_type=MemoryKind)


def store_values(name: str) -> dict[str, ValueInfo]:
    """Value, spread and source of every leaf of a kind of cells for weights."""
    return _kind_values("stores", name, record_type=StoreKind)


def link_values(name: str) -> dict[str, ValueInfo]:
    """Value, spread and source of every leaf of a kind of link."""
    return _kind_values("links", name, record_type=LinkKind)


def list_kinds(file: str) -> list[str]:
    """Names in ``styles``, ``memory``, ``stores`` or ``links``."""
    return list(read_preset("technology", file).data)


def _kind_values(
    file: str, name: str, *, record_type: type[Record]
) -> dict[str, ValueInfo]:
    document = read_preset("technology", file)
    return dict(_values_of_kind(document, name, record_type=record_type))


@lru_cache(maxsize=256)
def _values_of_kind(
    document: Document, name: str, *, record_type: type[Record]
) -> dict[str, ValueInfo]:
    if name not in document.data:
        raise UnknownNameError(_unknown(document, name))
    problems = problems_of(document)
    entry: Any = document.data[name]
    infos = read_values(record_type, entry, problems=problems, prefix=name)
    problems.raise_if_any()
    return infos


def _unknown(document: Document, name: str) -> str:
    known = list(document.data)
    close = nearest(name, known) or known
    return f'{document.file}: no entry is called "{name}". Close: {", ".join(close)}.'
