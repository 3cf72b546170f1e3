"""Kernels, fitted powers and overheads: known truths are found again."""

import math
from dataclasses import replace
from itertools import product

import jax.numpy as jnp
import numpy as np
import pytest

from codesign.calibrate.runs import gather_runs
from codesign.config.rows import MeasuredRow
from codesign.measure.device import preset_of
from codesign.measure.documents import fit_power
from codesign.measure.kernels import (
    CACHED,
    GEMM,
    IDLE,
    STREAM,
    ZEROS,
    Kernel,
    KernelPlan,
    measure_kernels,
)
from codesign.measure.overheads import fit_overheads
from codesign.measure.power import PowerMeter
from tests.calibrate.test_fit import made

TRUE_POWER = {"static": 120.0, "active": 80.0, "byte": 60e-12, "mac": 1.5e-12}
TRUE = {
    "time_factor_16bit": 1.3,
    "time_factor_8bit": 1.3,
    "time_factor_8bit_block": 1.3,
    "time_factor_4bit": 1.3,
    "time_factor_nvfp4": 1.3,
    "time_factor_int4": 1.3,
    "attention_factor": 1.3,
    "expert_factor": 2.0,
    "layer_time": 20e-6,
    "expert_layer_time": 15e-6,
    "step_time": 500e-6,
    "sequence_time": 8e-6,
}


def kernel(kind: str, *, flops: float, traffic: float) -> Kernel:
    busy = kind != IDLE
    dram = traffic if kind in (STREAM, GEMM) else 0.0
    watts = TRUE_POWER["static"] + busy * TRUE_POWER["active"]
    watts += TRUE_POWER["byte"] * dram
    watts += TRUE_POWER["mac"] * flops / 2 if kind == GEMM else 0.0
    return Kernel(kind, 1, 1, 1.0, flops, traffic, watts)


def test_powers_of_kernels_are_told_apart():
    kernels = [
        kernel(IDLE, flops=0.0, traffic=0.0),
        kernel(GEMM, flops=1e12, traffic=3e12),
        kernel(GEMM, flops=700e12, traffic=0.5e12),
        kernel(STREAM, flops=1e11, traffic=3e12),
        kernel(CACHED, flops=1e11, traffic=9e12),
        replace(kernel(ZEROS, flops=700e12, traffic=0.5e12), power=1.0),
    ]
    found = fit_power(kernels)
    for name, value in TRUE_POWER.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-6), name


def test_without_a_meter_nothing_is_said_of_power():
    dark = [replace(kernel(IDLE, flops=0.0, traffic=0.0), power=math.nan)]
    assert math.isnan(fit_power(dark).static)


def test_kernels_run_on_this_device():
    plan = KernelPlan(
        gemm_rows=(1, 32),
        gemm_size=128,
        stream_bytes=2**22,
        cached_bytes=2**16,
        seconds=0.01,
    )
    joules = iter(range(10**6))
    meter = PowerMeter(read=lambda: float(next(joules)), limit=None, source="test")
    found = measure_kernels(plan, dtype=jnp.dtype(jnp.float32), meter=meter)
    assert [k.kind for k in found] == [IDLE, GEMM, GEMM, ZEROS, STREAM, CACHED]
    one, many = found[1:3]
    assert many.flops == 32 * one.flops == 32 * 2 * 128 * 128
    assert many.compute > one.compute
    assert all(math.isfinite(k.power) and k.seconds > 0 for k in found)


def test_devices_are_found_by_their_longest_alias():
    assert preset_of("NVIDIA B200") == "b200-sxm"
    assert preset_of("NVIDIA H200") == "h200-sxm"
    assert preset_of("Quadro K600") == ""


def served() -> list[MeasuredRow]:
    """Runs of dense and expert models at several batches, times still unknown."""
    template = made().rows[0]
    models = ("llama-3-8b", "qwen3-8b", "qwen3-30b-a3b", "qwen3-14b")
    return [
        replace(template, model=model, batch=batch, prefills_per_step=0.05)
        for model, batch in product(models, (1.0, 16.0, 128.0))
    ]


def test_overheads_that_made_the_runs_are_found_again():
    from codesign.measure import overheads

    given, faults = gather_runs(served(), {})
    assert given is not None
    assert not faults
    runs = overheads._with(given, {"graph_tokens": 0.0})
    latency, step = np.split(overheads._times(overheads._with(runs, TRUE)), 2)
    rows = tuple(
        replace(row, inter_token_latency=float(a), step_time=float(b))
        for row, a, b in zip(runs.rows, latency, step, strict=True)
    )
    known = type(runs)(rows, runs.designs, runs.loads, technology=runs.technology)
    found = fit_overheads(known)
    assert found.constants == pytest.approx(TRUE, rel=0.05)  # the weak prior pulls
    assert np.max(np.abs(found.errors)) < 0.02
