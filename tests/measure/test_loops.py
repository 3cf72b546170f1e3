"""Loops over a tile on the chip: nothing is removed, and the tile stays there."""

import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.measure.kernels import SHARED, real_loops
from codesign.measure.loops import (
    CORE_TILE,
    Loop,
    enough_passes,
    resident_loop,
    rewritten,
)
from codesign.measure.rereads import LANES, drawn_tile, num_programs, reread
from tests.measure.rows import kernels

BLOCKS = 4


def least_seconds(loop: Loop, passes: int) -> float:
    spans: list[float] = []
    for _ in range(9):
        start = time.perf_counter()
        jax.block_until_ready(loop.run(passes))
        spans.append(time.perf_counter() - start)
    return min(spans)


@pytest.mark.parametrize("size", [CORE_TILE, 2.0**20])
def test_time_grows_with_the_passes(size: float):
    loop = resident_loop(size, platform="cpu")
    passes = enough_passes(loop, seconds=2e-3)
    assert least_seconds(loop, 8 * passes) > 4 * least_seconds(loop, passes)


@pytest.mark.parametrize("passes", [0, 1, 2, 7])
def test_every_pass_rewrites_every_element(passes: int):
    x = jnp.linspace(0.0, 1.0, 64, dtype=jnp.float32)
    expected = 1 - np.asarray(x) if passes % 2 else np.asarray(x)
    np.testing.assert_allclose(rewritten(x, jnp.int32(passes)), expected, atol=1e-6)


def test_a_tile_of_a_core_and_nothing_else_is_touched():
    """All memory of the program: tile in, tile out and some counters."""
    x = jnp.zeros(int(CORE_TILE) // 4, jnp.float32)
    sizes = rewritten.lower(x, jnp.int32(1)).compile().memory_analysis()
    assert sizes is not None
    assert sizes.argument_size_in_bytes <= CORE_TILE + 64
    assert sizes.output_size_in_bytes <= CORE_TILE
    assert sizes.temp_size_in_bytes <= 1024


def test_work_of_a_loop_by_hand():
    loop = resident_loop(3 * 2.0**14, platform="cpu")  # down to a power of two
    assert loop.words == 2**13
    assert loop.pass_bytes == 2 * 4 * 2**13
    assert loop.pass_flops == 2**13


@pytest.mark.parametrize("stride", [1, 3])
def test_programs_of_a_gpu_read_every_block_in_every_pass(stride: int):
    tile = drawn_tile(BLOCKS * LANES)
    walk = jnp.asarray((stride, 5), jnp.int32)
    found = reread(tile, walk, programs=3, interpret=True).reshape(3, LANES)
    sums = 5 * np.asarray(tile).reshape(BLOCKS, LANES).sum(0, dtype=np.int32)
    for row in np.asarray(found):
        np.testing.assert_array_equal(row, sums)


@pytest.mark.parametrize("platform", ["cuda", "rocm"])
def test_the_kernel_of_a_gpu_lowers_to_a_loop_of_loads(platform: str):
    tile = jax.ShapeDtypeStruct((BLOCKS * LANES,), jnp.int32)
    walk = jax.ShapeDtypeStruct((2,), jnp.int32)
    traced = reread.trace(tile, walk, programs=16)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert "xla.gpu.triton" in text
    assert "grid_x = 16" in text
    for operation in ("scf", "load", "store"):
        assert operation in text


def test_a_call_that_had_to_wait_does_not_shorten_the_loop():
    calls: list[int] = []

    def run(passes: int) -> None:
        calls.append(passes)
        time.sleep(0.02 if len(calls) % 4 else passes * 1e-3)

    loop = Loop(run=run, words=1, pass_bytes=1.0, pass_flops=1.0)
    assert enough_passes(loop, seconds=4e-3) in (4, 8)


def test_loop_of_a_gpu_fills_its_cores():
    class Gpu:
        core_count = 132

    assert num_programs(Gpu()) == 8 * 132
    assert num_programs(object()) > 0
    loop = resident_loop(CORE_TILE, platform="gpu")
    programs = num_programs(jax.devices()[0])
    assert loop.words == BLOCKS * LANES
    assert loop.pass_bytes == programs * CORE_TILE


def test_a_loop_whose_time_does_not_grow_is_not_real():
    rows = kernels()
    assert len(real_loops(rows, SHARED)) == 2
    removed = [replace(k, seconds=1.0) if k.kind == SHARED else k for k in rows]
    assert not real_loops(removed, SHARED)
    assert not real_loops([], SHARED)
