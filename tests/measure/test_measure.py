"""Kernels of this device, and overheads: known truths are found again."""

import math
from dataclasses import replace
from itertools import product

import jax.numpy as jnp
import numpy as np
import pytest

from codesign.calibrate.runs import gather_runs
from codesign.config.rows import MeasuredRow
from codesign.measure.device import preset_of
from codesign.measure.kernels import (
    CACHED,
    FORMATS,
    GEMM,
    IDLE,
    SHARED,
    STREAM,
    ZEROS,
    Kernel,
    KernelPlan,
    measure_kernels,
    native_narrow_products,
)
from codesign.measure.loops import CORE_TILE
from codesign.measure.overheads import fit_overheads
from codesign.measure.power import PowerMeter
from tests.calibrate.test_fit import made

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


def small_plan() -> KernelPlan:
    return KernelPlan(
        gemm_rows=(1, 32),
        gemm_size=128,
        stream_bytes=2**22,
        cached_bytes=2**16,
        seconds=0.01,
    )


@pytest.fixture(scope="module")
def measured() -> tuple[Kernel, ...]:
    joules = iter(range(10**6))
    meter = PowerMeter(read=lambda: float(next(joules)), limit=None, source="test")
    dtype = jnp.dtype(jnp.float32)
    return measure_kernels(small_plan(), dtype=dtype, meter=meter, platform="cpu")


def test_kernels_run_on_this_device(measured: tuple[Kernel, ...]):
    products = [GEMM, GEMM, ZEROS]
    loops = [CACHED, CACHED, SHARED, SHARED]
    assert [k.kind for k in measured] == [IDLE, *3 * products, STREAM, *loops]
    one, many = measured[1:3]
    assert many.flops == 32 * one.flops == 32 * 2 * 128 * 128
    assert many.compute > one.compute
    assert all(math.isfinite(k.power) and k.seconds > 0 for k in measured)


def test_products_run_in_sixteen_and_eight_bits(measured: tuple[Kernel, ...]):
    products = [k for k in measured if k.kind in (GEMM, ZEROS)]
    names = [k.format for k in products]
    assert names == [n for n in ("float32", *FORMATS) for _ in range(3)]
    assert {k.executed for k in products} == {"f32"}  # this processor widens
    wide, narrow = products[1], products[7]
    assert wide.traffic == 4 * narrow.traffic
    assert not native_narrow_products(measured)


def test_loops_on_the_chip_take_longer_with_more_passes(measured: tuple[Kernel, ...]):
    for kind, size in ((CACHED, 2**16), (SHARED, CORE_TILE)):
        short, long = (k for k in measured if k.kind == kind)
        assert long.rows == 2 * short.rows
        assert long.traffic == 2 * short.traffic == 2 * short.rows * 2 * size


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
