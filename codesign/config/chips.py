"""Which chip and system does a name or a file describe?

A preset, alias or YAML file of datasheet values -> ``Chip`` with the anchor of
that chip, ``System``, and what is known of every value.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign.config.catalogue import read_preset
from codesign.config.records import (
    ValueInfo,
    record_from_values,
)
from codesign.config.sections import checked_keys, read_section
from codesign.config.technology import (
    StyleEntry,
    link_values,
    list_kinds,
    load_technology,
    memory_values,
    store_values,
    style_values,
)
from codesign.config.yaml import Problems, problems_of
from codesign.core.checks import check_x64
from codesign.core.errors import BoundsError
from codesign.core.paths import nearest
from codesign.core.quantities import (
    Bytes,
    BytesPerSecond,
    Count,
    Factor,
    FlopPerSecond,
    Fraction,
    Meters,
    PerSecond,
    Watts,
)
from codesign.core.record import Record, as_float64, field_units
from codesign.hardware.anchor import anchor_chip, zero_anchor
from codesign.hardware.chip import (
    Chip,
    Compute,
    Dram,
    Given,
    Link,
    Program,
    Published,
    Sram,
    Store,
    System,
)
from codesign.hardware.tile import tile_store

CHIP_KEYS = (
    "name",
    "title",
    "aliases",
    "note",
    "style",
    "memory",
    "store",
    "link",
    "stack",
    "system",
    "parameters",
    "published",
)
KIND_FILES = {
    "style": "styles",
    "memory": "memory",
    "store": "stores",
    "link": "links",
}
NO_STORE = "none"  # of a chip whose file names no cells for weights


class Datasheet(Record):
    """Parameters of a chip as datasheets state them, rates dense and per package.

    Rates of 8 and 4 bit, spares and the shares of SRAM may be left out: a format
    without hardware repeats the rate of the next wider one, no spares are 1, the
    shares are those of the style. A chip without cells for weights names no ``store``
    and no ``store_capacity``; one whose design its vendor's margin pays names none of
    the last four. Without ``sparse_rate`` zeros are not skipped.
    """

    node: Meters
    tdp: Watts
    clock: PerSecond
    peak_compute_16bit: FlopPerSecond
    peak_compute_8bit: FlopPerSecond
    peak_compute_4bit: FlopPerSecond
    num_extra_formats: Count
    spare_factor: Factor
    dies: Count
    stacks: Count
    stack_capacity: Bytes
    dram_bandwidth: BytesPerSecond
    sram_capacity: Bytes
    sram_bandwidth: BytesPerSecond
    fast_fraction: Fraction
    tile_fraction: Fraction
    weight_fraction: Fraction
    kv_fraction: Fraction
    link_bandwidth: BytesPerSecond
    sparse_rate: Factor
    store_capacity: Bytes
    design_fraction: Fraction
    volume: Count
    mask_fraction: Fraction
    model_volume: Count


OPTIONAL = {
    "sparse_rate",
    "peak_compute_8bit",
    "peak_compute_4bit",
    "num_extra_formats",
    "spare_factor",
    "tile_fraction",
    "weight_fraction",
    "kv_fraction",
    "store_capacity",
    "design_fraction",
    "volume",
    "mask_fraction",
    "model_volume",
}


@dataclass(frozen=True)
class ChipInfo:
    """What the catalogue knows of a chip beside its parameters."""

    name: str
    title: str
    aliases: list[str]
    style: str
    memory: str
    store: str
    link: str
    stack: str
    note: str
    values: dict[str, ValueInfo]


def load_chip(name_or_path: str | Path) -> Chip:
    """The chip of a preset, alias or YAML file, anchored to its published figures.

    Example:
        >>> import codesign.core.checks
        >>> codesign.core.checks.enable_x64()
        >>> chip = load_chip("H100")
        >>> float(chip.dram.bandwidth), float(chip.tdp)
        (3350000000000.0, 700.0)
    """
    check_x64()
    info = chip_info(name_or_path)
    chip = _bare_chip(info)
    return anchor_chip(chip, _published(info), technology=load_technology())


def load_published(name_or_path: str | Path) -> Published:
    """Published figures of a chip that are not parameters; NaN where unknown."""
    return _published(chip_info(name_or_path))


def load_system(name_or_path: str | Path, *, num_chips: float) -> System:
    """The server or pod a chip is sold in, with a number of chips serving together."""
    if num_chips < 1:
        raise BoundsError(f"num_chips is {num_chips}; a system has at least 1 chip.")
    info = chip_info(name_or_path)
    values = {
        path.removeprefix("system."): entry.value
        for path, entry in info.values.items()
        if path.startswith("system.")
    }
    return record_from_values(System, {**values, "num_chips": float(num_chips)})


def chip_info(name_or_path: str | Path) -> ChipInfo:
    """Title, aliases, default stack, and source and confidence of each value.

    Raises:
        InputError: with every problem of the file, one per line.
    """
    document = read_preset("chips", name_or_path)
    problems = problems_of(document)
    data = checked_keys(document, CHIP_KEYS, problems=problems)
    for key, file in KIND_FILES.items():
        _check_kind(
            str(data.get(key, "")), key, known=list_kinds(file), problems=problems
        )
    _check_store(data, problems)
    values = {
        **read_section(
            Datasheet, data, key="parameters", problems=problems, optional=OPTIONAL
        ),
        **read_section(
            System, data, key="system", problems=problems, optional={"num_chips"}
        ),
        **read_section(
            Published,
            data,
            key="published",
            problems=problems,
            optional={path for path, _ in field_units(Published)},
        ),
    }
    problems.raise_if_any()
    return ChipInfo(
        name=str(data["name"]),
        title=str(data.get("title", data["name"])),
        aliases=[str(alias) for alias in data.get("aliases") or []],
        style=str(data["style"]),
        memory=str(data["memory"]),
        store=str(data.get("store", NO_STORE)),
        link=str(data["link"]),
        stack=_beside(name_or_path, str(data["stack"])),
        note=str(data.get("note", "")),
        values=values,
    )


def _beside(file: str | Path, name: str) -> str:
    """A name, or the path of a YAML file that another one names, from its folder."""
    return str(Path(file).parent / name) if name.endswith(".yaml") else name


def _bare_chip(info: ChipInfo) -> Chip:
    sheet = {
        path.removeprefix("parameters."): entry.value
        for path, entry in info.values.items()
        if path.startswith("parameters.")
    }
    style_leaves = {path: v.value for path, v in style_values(info.style).items()}
    entry = record_from_values(StyleEntry, style_leaves)
    style = entry.constants.replace(reference_clock=sheet["clock"])
    memory = {path: v.value for path, v in memory_values(info.memory).items()}
    link = {path: v.value for path, v in link_values(info.link).items()}
    store = {path: v.value for path, v in store_values(info.store).items()}
    store["capacity"] = sheet.get("store_capacity", 0.0)
    stacks = sheet["stacks"]
    memory["stack_capacity"] = sheet["stack_capacity"]
    memory["stack_bandwidth"] = sheet["dram_bandwidth"] / stacks if stacks else 0.0
    given = Given(
        node=sheet["node"],
        tile_store=0.0,  # follows from the chip, below
        generation=memory["generation"],
        stack_capacity=memory["stack_capacity"],
        stack_bandwidth=memory["stack_bandwidth"],
    )
    chip = as_float64(
        Chip(
            node=sheet["node"],
            voltage=style.reference_voltage,
            tdp=sheet["tdp"],
            dies=sheet["dies"],
            compute=_compute(sheet),
            sram=_sram(sheet, entry),
            dram=Dram(stacks=stacks, bandwidth=sheet["dram_bandwidth"], **memory),
            store=record_from_values(Store, store),
            link=Link(bandwidth=sheet["link_bandwidth"], **link),
            program=Program(
                design_fraction=sheet.get("design_fraction", 0.0),
                volume=sheet.get("volume", 1.0),
                mask_fraction=sheet.get("mask_fraction", 0.0),
                model_volume=sheet.get("model_volume", 1.0),
            ),
            style=style,
            given=given,
            anchor=zero_anchor(),
        )
    )
    return chip.replace(given=chip.given.replace(tile_store=tile_store(chip)))


def _compute(sheet: dict[str, Any]) -> Compute:
    peak = sheet["peak_compute_16bit"]
    rate_8bit = sheet.get("peak_compute_8bit", peak) / peak
    rate_4bit = sheet.get("peak_compute_4bit", rate_8bit * peak) / peak
    return Compute(
        macs=peak / (2 * sheet["clock"]),
        rate_8bit=rate_8bit,
        rate_4bit=rate_4bit,
        num_extra_formats=sheet.get("num_extra_formats", 0.0),
        spare_factor=sheet.get("spare_factor", 1.0),
        sparse_rate=sheet.get("sparse_rate", 1.0),
    )


def _sram(sheet: dict[str, Any], entry: StyleEntry) -> Sram:
    shares = {
        name: sheet.get(name, getattr(entry.partition, name))
        for name in ("tile_fraction", "weight_fraction", "kv_fraction")
    }
    return Sram(
        capacity=sheet["sram_capacity"],
        fast_fraction=sheet["fast_fraction"],
        bandwidth=sheet["sram_bandwidth"],
        **shares,
    )


def _published(info: ChipInfo) -> Published:
    unknown = {path: math.nan for path, _ in field_units(Published)}
    known = {
        path.removeprefix("published."): entry.value
        for path, entry in info.values.items()
        if path.startswith("published.")
    }
    return record_from_values(Published, {**unknown, **known})


def _check_kind(name: str, key: str, *, known: list[str], problems: Problems) -> None:
    if name and name not in known:
        close = nearest(name, known) or known
        problems.add(key, f'no {key} is called "{name}". Close: {", ".join(close)}.')


def _check_store(data: dict[str, Any], problems: Problems) -> None:
    """A kind of cells and their capacity are named together or not at all."""
    named = data.get("store", NO_STORE) != NO_STORE
    sized = "store_capacity" in (data.get("parameters") or {})
    if named != sized:
        lacking = "parameters.store_capacity" if named else "store"
        problems.add(lacking, "store and parameters.store_capacity go together.")
