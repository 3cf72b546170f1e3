"""Which device is this, and which chip of the library is it?

JAX's default device -> its name, memory and meter, and the preset of that name.
"""

import os
import re
from dataclasses import dataclass

import jax

from codesign.config.catalogue import list_aliases, list_presets
from codesign.core.quantities import Bytes
from codesign.measure.power import PowerMeter, find_meter


@dataclass(frozen=True)
class Device:
    """The device that programs run on; ``preset`` is empty if none has its name."""

    name: str
    platform: str
    memory: Bytes
    meter: PowerMeter | None
    preset: str


def this_device() -> Device:
    """JAX's default device."""
    device = jax.devices()[0]
    stats = device.memory_stats() or {}
    return Device(
        name=device.device_kind,
        platform=device.platform,
        memory=float(stats.get("bytes_limit") or _host_memory()),
        meter=find_meter(device.platform, index=device.local_hardware_id or 0),
        preset=preset_of(device.device_kind),
    )


def preset_of(name: str) -> str:
    """Chip preset whose name or alias stands in a device's name, the longest first.

    Example:
        >>> preset_of("NVIDIA H100 80GB HBM3"), preset_of("cpu")
        ('h100-sxm', '')
    """
    known = {name: name for name in list_presets("chips")} | list_aliases("chips")
    for alias in sorted(known, key=len, reverse=True):
        if re.search(rf"\b{re.escape(alias)}\b", name, re.IGNORECASE):
            return known[alias]
    return ""


def _host_memory() -> float:
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
