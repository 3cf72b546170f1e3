"""What is a measured device as a chip and a stack of the library?

Kernels, a chip preset that fills in the rest -> YAML documents in which every
value says whether it was measured or taken over.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from codesign.config.catalogue import read_preset
from codesign.config.units import format_quantity
from codesign.core.paths import path_units
from codesign.core.quantities import Bytes, Scalar, Unit
from codesign.measure.device import Device
from codesign.measure.energies import FittedEnergies
from codesign.measure.kernels import (
    CACHED,
    SHARED,
    STREAM,
    Kernel,
    native_narrow_products,
    real_loops,
    wide_products,
)
from codesign.serving.stack import Stack

Document = dict[str, Any]
DIGITS = 4
LOGIT_BYTES = 8.0  # of float32, written by the head and read for the largest
WHOLE_PROMPT = 2.0**20  # tokens; prompts are not cut
PUBLISHED = {
    "static": ("static_power", "W"),
    "mac_16bit": ("mac_energy_16bit", "J/MAC"),
    "mac_8bit": ("mac_energy_8bit", "J/MAC"),
    "bank_byte": ("bank_energy", "J/B"),
    "resident_byte": ("resident_energy", "J/B"),
}
"""Fitted energies that are figures of the chip; the others are of its stack."""


def chip_document(
    device: Device, kernels: Sequence[Kernel], *, name: str, like: str, stack: str
) -> Document:
    """The device as a chip: measured rates, all else as the preset ``like``.

    A device of the library keeps the rates of its data sheet. Another has a rate of
    8 bits if its products run in 8 bits and faster than in 16.
    """
    document: Document = _copied(read_preset("chips", like).data)
    own = device.preset == like
    parameters: Document = document["parameters"]
    published: Document = dict(document.get("published") or {}) if own else {}
    if not own:
        parameters = {key: _borrowed(v, like=like) for key, v in parameters.items()}
        for key in ("peak_compute_8bit", "peak_compute_4bit", "num_extra_formats"):
            parameters.pop(key, None)
        stacks = float(parameters["stacks"]["value"]) or 1.0
        parameters |= _measured_rates(kernels, stack_capacity=device.memory / stacks)
    if device.meter and device.meter.limit:
        text = f"power limit, {device.meter.source}"
        parameters["tdp"] = _measured(device.meter.limit, "W", source=text)
    return {
        **document,
        "name": name,
        "title": device.name,
        "aliases": [],
        "note": f"Measured by codesign measure; all else as {like}.",
        "stack": stack,
        "parameters": parameters,
        "published": published,
    }


def with_energies(chip: Document, fitted: FittedEnergies) -> Document:
    """The chip with the energies that kernels say more of than the model did."""
    text = "fit to the powers of measured kernels"
    found = {
        key: _measured(getattr(fitted.values, name), unit, source=text)
        for name, (key, unit) in PUBLISHED.items()
        if fitted.is_measured(name)
    }
    return {**chip, "published": {**chip["published"], **found}}


def base_stack(device: Device, *, like: str) -> dict[str, Document]:
    """Values of the stack before its constants are fitted.

    Efficiencies are those of the chip's own stack where rates come from a data
    sheet, and 1 where they were measured.
    """
    own = device.preset == like
    name = str(read_preset("chips", like).data["stack"]) if own else "ideal"
    values = _copied(read_preset("stacks", name).data["values"])
    if not own:
        for key in ("compute_efficiency", "dram_efficiency", "sram_efficiency"):
            values[key] = _derived(1.0, "1", source="the chip's rates are measured")
    static = "a static batch runs as one compiled program"
    fixed: Mapping[str, tuple[float, str, str]] = {
        "graph_tokens": (0.0, "token", f"{static}: no launch floor"),
        "chunked_layer_time": (0.0, "s", f"{static}: windows are no extra launches"),
        "scan_padding": (0.0, "token", f"{static}: scans of its prompts alone"),
        "sampling_traffic": (LOGIT_BYTES, "B", "largest logit, in float32"),
        "chunk_tokens": (WHOLE_PROMPT, "token", "prompts are not cut"),
        "kv_block": (1.0, "token", "caches without blocks"),
    }
    return values | {
        key: _derived(value, unit, source=source)
        for key, (value, unit, source) in fixed.items()
    }


def stack_document(
    values: Mapping[str, Document],
    fitted: Mapping[str, float],
    *,
    device: Device,
    fit: Mapping[str, Any],
) -> Document:
    """The stack with its fitted constants."""
    units = path_units(Stack)
    source = f"codesign measure on {device.name}"
    new = {
        key: {
            "value": _number(format_quantity(value, units[key], digits=DIGITS)),
            "status": "measured",
            "confidence": "B",
            "source": source,
        }
        for key, value in fitted.items()
    }
    return {
        "name": "measured",
        "title": f"Flax reference model on {device.name}",
        "aliases": [],
        "note": "Static batches of codesign measure, not a serving engine.",
        "values": {**values, **new},
        "fit": dict(fit),
    }


def _measured_rates(kernels: Sequence[Kernel], *, stack_capacity: Bytes) -> Document:
    streams = [k for k in kernels if k.kind == STREAM]
    loops = [k for kind in (CACHED, SHARED) for k in real_loops(kernels, kind)]
    stream = max(k.bandwidth for k in streams)
    fastest = max((*streams, *loops), key=lambda k: k.bandwidth)
    copy = "codesign measure, stream that reads and writes"
    rates = {
        "peak_compute_16bit": _best(wide_products(kernels)),
        "dram_bandwidth": _measured(stream, "B/s", source=copy),
        "sram_bandwidth": _measured(
            fastest.bandwidth, "B/s", source=f"codesign measure, {fastest.kind}"
        ),
        "stack_capacity": _measured(
            stack_capacity, "B", source="memory of the device over its stacks"
        ),
    }
    narrow = native_narrow_products(kernels)
    if narrow:
        rates["peak_compute_8bit"] = _best(narrow)
        rates["num_extra_formats"] = _measured(1.0, "1", source="8-bit products")
    return rates


def _best(products: Sequence[Kernel]) -> Document:
    best = max(products, key=lambda k: k.compute)
    text = f"codesign measure, best product, {best.format}, {best.rows} rows"
    return _measured(best.compute, "FLOP/s", source=text)


def _measured(value: Scalar, unit: str, *, source: str) -> Document:
    return _entry(float(value), unit, source=source) | {"status": "measured"}


def _derived(value: float, unit: str, *, source: str) -> Document:
    return _entry(value, unit, source=source) | {"status": "derived"}


def _entry(value: float, unit: str, *, source: str) -> Document:
    text = format_quantity(value, Unit(unit), digits=DIGITS)
    return {"value": _number(text), "confidence": "B", "source": source}


def _borrowed(entry: Mapping[str, Any], *, like: str) -> Document:
    """A value of another chip: assumed here, whatever it is there."""
    kept = {key: entry[key] for key in ("value", "low", "high") if key in entry}
    source = f"not measured; as {like}"
    return {**kept, "status": "assumed", "confidence": "C", "source": source}


def _number(text: str) -> str | float:
    """A number without unit as a number."""
    try:
        return float(text)
    except ValueError:
        return text


def _copied(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {str(key): _copied(value) for key, value in tree.items()}
    return [_copied(item) for item in tree] if isinstance(tree, list) else tree
