"""How good is the model on the device in front of us?

Models, batches and a folder -> measured kernels and runs, the device as a chip and
its software as a stack, and the score of the model with both on those runs.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy

from codesign.calibrate.runs import gather_runs
from codesign.calibrate.validate import Report, validate
from codesign.config.chips import load_chip
from codesign.config.rows import read_model_rows, read_rows, write_rows
from codesign.config.technology import load_technology
from codesign.config.yaml import yaml_text
from codesign.core.checks import check_x64
from codesign.core.errors import InputError
from codesign.hardware.anchor import byte_energy, dense_mac_energy
from codesign.hardware.silicon import Silicon, silicon
from codesign.measure.device import Device
from codesign.measure.documents import (
    base_stack,
    chip_document,
    stack_document,
    with_energies,
)
from codesign.measure.energies import (
    Energies,
    FittedEnergies,
    expected_energies,
    fit_energies,
)
from codesign.measure.kernels import Kernel, KernelPlan, measure_kernels
from codesign.measure.overheads import Overheads, fit_overheads
from codesign.measure.runs import (
    Served,
    Server,
    Setting,
    model_cells,
    row_cells,
)
from codesign.measure.sizes import Sizes

CHIP, STACK, ROWS, MODELS, KERNELS = (
    "chip.yaml",
    "stack.yaml",
    "rows.csv",
    "models.csv",
    "kernels.csv",
)
PRECISIONS = {"float32": ("fp32", 32), "bfloat16": ("bf16", 16)}
LEVELS = (0.1, 0.9)  # of the errors that an 80 % interval spans


@dataclass(frozen=True)
class MeasurePlan:
    """What is measured: models by name, batches, lengths, format and kernels.

    ``like`` is the chip preset that fills in what is not measured.
    """

    models: Mapping[str, Sizes]
    batches: tuple[int, ...]
    prompt_length: int
    output_length: int
    precision: str
    like: str
    kernels: KernelPlan


@dataclass(frozen=True)
class Measurement:
    """Kernels, runs, fitted constants, and the score on the same runs."""

    kernels: tuple[Kernel, ...]
    runs: tuple[Served, ...]
    energies: FittedEnergies
    overheads: Overheads
    report: Report


def measure(
    plan: MeasurePlan,
    device: Device,
    *,
    folder: Path,
    command: str = "codesign measure",
    progress: Callable[[str], None] = lambda _: None,
) -> Measurement:
    """Measure a device and write rows, models, kernels, chip and stack.

    The score is in sample: overheads were fitted to the runs it is taken on.

    Raises:
        InputError: a run cannot be predicted with the chip that was written.
    """
    check_x64()
    dtype = jnp.dtype(plan.precision)
    progress("kernels")
    kernels = measure_kernels(
        plan.kernels, dtype=dtype, meter=device.meter, platform=device.platform
    )
    runs = _serve_all(plan, device, dtype=dtype, progress=progress)
    _write_tables(plan, folder, runs=runs, kernels=kernels)
    chip = chip_document(device, kernels, name="measured", like=plan.like, stack=STACK)
    _write(folder / CHIP, chip)
    energies = fit_energies(kernels, expected_energies(_built(folder)))
    _write(folder / CHIP, with_energies(chip, energies))
    values = base_stack(device, like=plan.like)
    clumps = {"prefill_clumping": float(max(plan.batches))}
    _write(folder / STACK, stack_document(values, clumps, device=device, fit={}))
    progress("fit")
    overheads = _fitted_overheads(folder)
    factors = _energy_factors(_built(folder), energies.values)
    constants = overheads.constants | clumps | factors
    fit = _fit_facts(overheads, command=command, runs=runs)
    _write(folder / STACK, stack_document(values, constants, device=device, fit=fit))
    return Measurement(
        kernels=kernels,
        runs=runs,
        energies=energies,
        overheads=overheads,
        report=validate(folder / ROWS, folder / MODELS),
    )


def measurement_dict(found: Measurement) -> dict[str, Any]:
    """Everything that was measured, as plain data."""
    return {
        "kernels": [asdict(kernel) for kernel in found.kernels],
        "runs": [asdict(run) for run in found.runs],
        "energies": asdict(found.energies.values),
        "measured": dict(found.energies.measured),
        "constants": found.overheads.constants,
        "groups": [asdict(group) for group in found.report.groups],
    }


def _serve_all(
    plan: MeasurePlan,
    device: Device,
    *,
    dtype: jnp.dtype,
    progress: Callable[[str], None],
) -> tuple[Served, ...]:
    done: list[Served] = []
    for name, sizes in plan.models.items():
        server = Server(name, sizes, dtype=dtype)
        for batch in plan.batches:
            progress(f"{name}, batch {batch}")
            serve = functools.partial(
                server.serve,
                batch,
                prompt_length=plan.prompt_length,
                output_length=plan.output_length,
                meter=device.meter,
            )
            serve()
            done.append(serve())
    return tuple(done)


def _write_tables(
    plan: MeasurePlan,
    folder: Path,
    *,
    runs: Sequence[Served],
    kernels: Sequence[Kernel],
) -> None:
    name, bits = PRECISIONS[plan.precision]
    setting = Setting(
        gpu=CHIP,
        framework_version="",
        weight_bits=bits,
        act_precision=name,
        kv_bits=bits,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / ROWS, [row_cells(run, setting) for run in runs])
    models = [model_cells(n, sizes) for n, sizes in plan.models.items()]
    write_rows(folder / MODELS, models)
    write_rows(folder / KERNELS, [_kernel_cells(kernel) for kernel in kernels])


def _kernel_cells(kernel: Kernel) -> dict[str, object]:
    return {
        "kind": kernel.kind,
        "format": kernel.format,
        "executed": kernel.executed,
        "m": kernel.rows,
        "n": kernel.cols,
        "latency_us": 1e6 * kernel.seconds,
        "flop_per_s": kernel.compute,
        "bytes_per_s": kernel.bandwidth,
        "power_w": kernel.power if np.isfinite(kernel.power) else "",
    }


def _fitted_overheads(folder: Path) -> Overheads:
    rows = read_rows(folder / ROWS).rows
    runs, faults = gather_runs(rows, read_model_rows(folder / MODELS))
    if runs is None or faults:
        texts = "; ".join(fault.message for fault in faults)
        raise InputError(f"{folder / ROWS}: a run cannot be predicted: {texts}")
    return fit_overheads(runs)


def _built(folder: Path) -> Silicon:
    return silicon(load_chip(folder / CHIP), load_technology())


def _energy_factors(built: Silicon, energies: Energies) -> dict[str, float]:
    """Energy constants of the stack that give the energies of single kernels.

    k_c = 1 where the chip itself carries the measured energy per MAC.
    """
    if not np.isfinite(energies.static):
        return {}
    per_mac = dense_mac_energy(built, bits=16)
    return {
        "compute_energy_factor": float(energies.mac_16bit / per_mac),
        "traffic_energy_factor": float(energies.byte / byte_energy(built)),
        "active_power_factor": float(energies.active / built.active_power),
    }


def _fit_facts(
    overheads: Overheads, *, command: str, runs: Sequence[Served]
) -> dict[str, Any]:
    latency, step = np.split(overheads.errors, 2)
    ends = {
        name: dict(
            zip(("low", "high"), map(float, np.quantile(errors, LEVELS)), strict=True)
        )
        for name, errors in (("inter_token_latency", latency), ("step_time", step))
    }
    return {
        "command": command,
        "runs": len(runs),
        "models": len({run.model for run in runs}),
        "solver": f"scipy {scipy.__version__}",
        "errors": ends,
    }


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(yaml_text(document), encoding="utf-8")
