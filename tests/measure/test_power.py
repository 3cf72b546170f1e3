"""Counters of joules: RAPL files, and a stand-in for NVIDIA's library."""

import ctypes
from pathlib import Path
from typing import Any

import pytest

from codesign.measure.power import find_meter, nvml_meter, rapl_meter

MAX = 1_000_000  # microjoules at which the counters below run over


def package(folder: Path, number: int, *, energy: int) -> Path:
    own = folder / f"intel-rapl:{number}"
    own.mkdir(parents=True)
    (own / "energy_uj").write_text(f"{energy}\n", encoding="ascii")
    (own / "max_energy_range_uj").write_text(f"{MAX}\n", encoding="ascii")
    (own / "constraint_0_power_limit_uw").write_text("95000000\n", encoding="ascii")
    return own


def test_rapl_adds_its_packages_and_counts_on_after_running_over(tmp_path: Path):
    first, second = (package(tmp_path, n, energy=900_000) for n in (0, 1))
    package(tmp_path, 9, energy=5).rename(tmp_path / "intel-rapl:0:0")  # a part
    meter = rapl_meter(tmp_path)
    assert meter is not None
    assert meter.limit == pytest.approx(190.0)
    start = meter.read()
    (first / "energy_uj").write_text("100000", encoding="ascii")
    (second / "energy_uj").write_text("950000", encoding="ascii")
    assert meter.read() - start == pytest.approx(0.2 + 0.05)
    assert meter.read() - start == pytest.approx(0.25)


def test_no_counter_is_no_meter(tmp_path: Path):
    assert rapl_meter(tmp_path) is None
    broken = package(tmp_path, 0, energy=1) / "energy_uj"
    broken.unlink()
    assert rapl_meter(tmp_path) is None
    assert find_meter("tpu") is None


def write(reference: Any, *, kind: Any, value: int) -> None:
    ctypes.cast(reference, ctypes.POINTER(kind)).contents.value = value


class Library:
    """As much of NVML as is called; every function returns 0 for success."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            if name == self.failing:
                return 1
            if name == "nvmlDeviceGetTotalEnergyConsumption":
                write(arguments[1], kind=ctypes.c_ulonglong, value=5000)
            if name == "nvmlDeviceGetEnforcedPowerLimit":
                write(arguments[1], kind=ctypes.c_uint, value=700_000)
            return 0

        return call


def test_nvml_reads_joules_and_the_limit():
    meter = nvml_meter(0, load=lambda _: Library())
    assert meter is not None
    assert meter.read() == pytest.approx(5.0)
    assert meter.limit == pytest.approx(700.0)


@pytest.mark.parametrize(
    "failing", ["nvmlInit_v2", "nvmlDeviceGetTotalEnergyConsumption"]
)
def test_a_board_without_counter_is_no_meter(failing: str):
    assert nvml_meter(0, load=lambda _: Library(failing)) is None


def test_a_machine_without_the_library_is_no_meter():
    def absent(name: str) -> Any:
        raise OSError(name)

    assert nvml_meter(0, load=absent) is None
