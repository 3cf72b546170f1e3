"""How many joules has the device used so far?

NVIDIA's management library or the processor's RAPL counters -> a counter of
joules and the power limit; None where the device offers neither.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign.core.quantities import Joules, Watts

RAPL = Path("/sys/class/powercap")
PACKAGE = "intel-rapl:[0-9]"  # one folder per processor, its parts lie below
NVML = "libnvidia-ml.so.1"
MICRO, MILLI = 1e-6, 1e-3


@dataclass(frozen=True)
class PowerMeter:
    """A counter of joules, the power limit if it is set, and where both come from."""

    read: Callable[[], Joules]
    limit: Watts | None
    source: str


def find_meter(platform: str, *, index: int = 0) -> PowerMeter | None:
    """The meter of a JAX device by its platform (``gpu``, ``cpu``), if there is one."""
    if platform in ("gpu", "cuda"):
        return nvml_meter(index)
    return rapl_meter() if platform == "cpu" else None


def rapl_meter(folder: Path = RAPL) -> PowerMeter | None:
    """Joules of all processor packages, without their memory modules.

    Counters run over at ``max_energy_range_uj``; a reading below the last one has
    run over once. None without packages that may be read.
    """
    packages = sorted(folder.glob(PACKAGE))
    counters = [package / "energy_uj" for package in packages]
    if not counters or _numbers(counters) is None:
        return None
    ranges = _numbers([p / "max_energy_range_uj" for p in packages])
    limits = _numbers([p / "constraint_0_power_limit_uw" for p in packages])
    last = _numbers(counters) or []
    rounds = [0.0] * len(counters)

    def read() -> Joules:
        for place, value in enumerate(_numbers(counters) or last):
            if value < last[place] and ranges is not None:
                rounds[place] += ranges[place]
            last[place] = value
        return MICRO * (sum(last) + sum(rounds))

    limit = MICRO * sum(limits) if limits else None
    return PowerMeter(read=read, limit=limit, source="RAPL, processor packages")


def nvml_meter(
    index: int, *, load: Callable[[str], Any] = ctypes.CDLL
) -> PowerMeter | None:
    """Joules of one GPU board since its driver was loaded.

    Source: nvmlDeviceGetTotalEnergyConsumption and
    nvmlDeviceGetEnforcedPowerLimit, NVML API reference.
    """
    try:
        library = load(NVML)
    except OSError:
        return None
    handle = ctypes.c_void_p()
    if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(
        index, ctypes.byref(handle)
    ):
        return None

    def counter() -> float | None:
        energy = ctypes.c_ulonglong()
        failed = library.nvmlDeviceGetTotalEnergyConsumption(
            handle, ctypes.byref(energy)
        )
        return None if failed else MILLI * energy.value

    if counter() is None:
        return None
    limit = ctypes.c_uint()
    known = not library.nvmlDeviceGetEnforcedPowerLimit(handle, ctypes.byref(limit))
    return PowerMeter(
        read=lambda: counter() or 0.0,
        limit=MILLI * limit.value if known else None,
        source="NVML, GPU board",
    )


def _numbers(files: list[Path]) -> list[float] | None:
    try:
        return [float(file.read_text(encoding="ascii")) for file in files]
    except (OSError, ValueError):
        return None
