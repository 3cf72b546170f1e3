"""Chains of products: their values, and the format that they really run in."""

import re
from dataclasses import replace

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from codesign.measure.kernels import native_narrow_products, wide_products
from codesign.measure.products import (
    REPEATS,
    Products,
    chain,
    drawn_weights,
    num_weights,
    operand_type,
)
from tests.measure.rows import NARROW_RATE, ROWS, WIDE_RATE, kernels, product

FP8 = jnp.dtype(jnp.float8_e4m3fn)
LIBRARY = """
  %x = f8e4m3fn[16,4096]{1,0} parameter(0)
  %w.1 = f8e4m3fn[4096,4096]{1,0} parameter(1)
  %s = f32[] constant(1)
  %y = (bf16[16,4096]{1,0}, s8[4]{0}) custom-call(%x, %w.1, %s, %s), \
custom_call_target="__cublas$lt$matmul$f8", backend_config={"beta":0}
  %other = f64[4]{0} custom-call(%s), custom_call_target="Sharding"
"""


def products(name: str, *, rows: int = 4, size: int = 64) -> Products:
    dtype, draw = jnp.dtype(name), np.random.default_rng(0)
    weights = drawn_weights(draw, size, dtype=dtype, number=3)
    return Products(jnp.asarray(draw.standard_normal((rows, size)), dtype), weights)


@pytest.mark.parametrize(
    ("name", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05), (FP8.name, 0.2)]
)
def test_a_chain_is_eight_products_one_after_the_other(name: str, tolerance: float):
    given = products(name)
    run, _ = given.compiled()
    y = np.asarray(given.x, np.float64)
    for repeat in range(REPEATS):
        y = y @ np.asarray(given.weights[repeat % 3], np.float64).T
        y *= 64**-0.5 if name == FP8.name else 1.0
    found = np.asarray(run(), np.float64)
    assert run().dtype == jnp.dtype(name)
    assert np.linalg.norm(found - y) < tolerance * np.linalg.norm(y)


def test_eight_bit_values_neither_vanish_nor_overflow():
    run, _ = products(FP8.name, rows=32, size=256).compiled()
    values = np.asarray(run(), np.float64)
    assert np.all(np.isfinite(values))
    assert 0.5 < values.std() < 2
    most = float(ml_dtypes.finfo(FP8).max)
    large = Products(jnp.full((2, 256), most, FP8), (jnp.full((256, 256), most, FP8),))
    assert np.all(np.asarray(large.compiled()[0](), np.float64) == most)


@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
def test_both_operands_reach_the_compiler_in_eight_bits(platform: str):
    given = products(FP8.name)
    traced = chain.trace(given.x, given.weights)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    dots = re.findall(r"dot_general.*: \((.*)\) -> (.*)", text)
    assert len(dots) == REPEATS
    for operands, result in dots:
        assert operands.count("f8E4M3FN") == 2
        assert "bf16" in result


def test_this_processor_widens_eight_bits_and_says_so():
    _, executed = products(FP8.name).compiled()
    assert executed == "f32"
    _, executed = products("float32").compiled()
    assert executed == "f32"


def test_library_calls_are_products_too():
    assert operand_type(LIBRARY) == "f8e4m3fn"
    assert operand_type(LIBRARY.replace("matmul$f8", "other")) == ""


def test_weights_of_a_chain_exceed_the_caches():
    assert num_weights(4096, dtype=FP8, beyond=2**30) == REPEATS
    assert num_weights(4096, dtype=FP8, beyond=2**25) == 2
    assert num_weights(4096, dtype=FP8, beyond=1.0) == 1


def test_eight_bits_count_where_they_are_native_and_faster():
    native = native_narrow_products(kernels())
    assert [k.rows for k in native] == list(ROWS)
    assert max(k.compute for k in native) == pytest.approx(NARROW_RATE)
    assert not native_narrow_products(kernels(narrow=0.99 * WIDE_RATE))


def test_widened_products_are_not_the_rate_of_their_format():
    """A bf16 product that runs in f32, slower than an fp32 one, is not counted."""
    slow = product("bfloat16", 8192, size=2, rate=1e12)
    fast = product("float32", 8192, size=2, rate=9e12)
    narrow = product(FP8.name, 8192, size=1, rate=10e12)
    rows = [replace(kernel, executed="f32") for kernel in (slow, fast, narrow)]
    assert [k.format for k in wide_products(rows)] == ["float32"]
    assert not native_narrow_products(rows)
