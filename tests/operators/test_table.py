import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.operators.phases import KINDS
from codesign.operators.table import (
    DEFAULTS,
    ROW_FIELDS,
    RowKind,
    Tiles,
    Work,
    _pick,
    kind_column,
    row,
    stack_rows,
    work,
)

WEIGHT = RowKind("product", weight=1)
CACHE = RowKind("attention", cache=1)


def done(
    kind: RowKind,
    *,
    sharpness: float | None = None,
    capacity: float = 1e30,
    **shape: float,
) -> Work:
    """Work of a single row on tiles of 64 x 128 x 32."""
    tiles = Tiles(
        rows=64.0, cols=128.0, inner=32.0, capacity=capacity, activation_share=1.0
    )
    table = stack_rows([row(kind, **{"count": 1.0, **shape})], (kind,))
    return work(table, (kind,), tiles=tiles, sharpness=sharpness)


def test_product_of_matrices():
    found = done(
        WEIGHT,
        count=3.0,
        copies=2.0,
        rows=64.0,
        cols=256.0,
        inner=96.0,
        stored_bits=8.0,
    )
    assert float(found.macs[0]) == 6 * 64 * 256 * 96
    assert float(found.flops[0]) == 2 * 6 * 64 * 256 * 96
    assert float(found.padded_macs[0]) == float(found.macs[0])
    assert float(found.weight_bytes[0]) == 6 * 256 * 96
    assert float(found.cache_bytes[0]) == 0.0
    assert float(found.activation_bytes[0]) == 6 * 64 * (256 + 96) * 2


def test_padding_to_the_tile():
    found = done(WEIGHT, rows=1.0, cols=129.0, inner=33.0)
    assert float(found.padded_macs[0]) == 64 * 256 * 64
    assert float(found.macs[0]) == 129 * 33


@pytest.mark.parametrize("size", [1.0, 63.9, 64.0, 65.0, 200.0])
def test_smooth_padding_lies_between_useful_and_padded_work(size: float):
    """But for the p-norm of each of the three sizes with one tile."""
    shape = {"rows": size, "cols": 128.0, "inner": 32.0}
    hard = float(done(WEIGHT, **shape).padded_macs[0])
    smooth = float(done(WEIGHT, sharpness=256.0, **shape).padded_macs[0])
    useful = float(done(WEIGHT, **shape).macs[0])
    assert useful * (1 - 1e-9) <= smooth <= hard * 2 ** (3 / 256) * (1 + 1e-9)


def test_empty_row_has_no_padded_work():
    assert float(done(WEIGHT, rows=0.0, cols=128.0, inner=32.0).padded_macs[0]) == 0.0


def test_cached_operand_is_cache_and_has_no_streamed_activations():
    found = done(CACHE, rows=8.0, cols=1000.0, inner=256.0, stored_factor=0.5)
    assert float(found.cache_bytes[0]) == 1000 * 256 * 2 / 2
    assert float(found.weight_bytes[0]) == 0.0
    assert float(found.activation_bytes[0]) == 0.0


@pytest.mark.parametrize("elements", [1e4, 1e6, 1e9])
def test_traffic_is_at_least_the_bound_of_hong_and_kung(elements: float):
    """2 M N K / sqrt(S) elements move, and never less than every operand once."""
    size = 8192.0
    found = done(WEIGHT, rows=size, cols=size, inner=size, capacity=2 * elements)
    moved = float(found.weight_bytes[0] + found.activation_bytes[0]) / 2
    bound = 2 * size**3 / np.sqrt(elements)
    assert moved == pytest.approx(max(bound, 3 * size**2))


@pytest.mark.parametrize("elements", [1e5, 1e6, 1e9])
def test_attention_reads_its_cache_for_every_block_of_queries(elements: float):
    """N^2 d^2 / S elements per head and operand, and never less than the cache once."""
    size, head = 16384.0, 128.0
    kind = RowKind("attention", cache=1, attends=1)
    shape = {"rows": size, "cols": size, "inner": 2 * head}
    found = done(kind, capacity=2 * elements, **shape)
    moved = float(found.cache_bytes[0]) / 2
    assert moved == pytest.approx(2 * max(size**2 * head**2 / elements, size * head))


def test_hot_rank_raises_time_but_not_energy():
    found = done(WEIGHT, rows=64.0, cols=128.0, inner=32.0, hot_factor=1.5)
    assert float(found.hot_macs[0]) == pytest.approx(1.5 * float(found.padded_macs[0]))
    assert float(found.hot_weight_bytes[0]) == pytest.approx(
        1.5 * float(found.weight_bytes[0])
    )


def test_rows_keep_the_order_of_their_kinds():
    rows = [row(CACHE, count=1.0), row(WEIGHT, count=2.0)]
    table = stack_rows(rows, (CACHE, WEIGHT))
    assert table.count.tolist() == [1.0, 2.0]
    assert table.count.dtype == jnp.float64
    with pytest.raises(ValueError, match="order"):
        stack_rows(rows, (WEIGHT, CACHE))


def test_columns_of_traced_numbers_have_the_derivatives_of_a_gather():
    values, places = jnp.arange(1.0, 6.0), (4, 0, 0, 2, 1, 4)
    along = jnp.asarray(np.random.default_rng(0).normal(size=5))
    weights = jnp.asarray(np.random.default_rng(1).normal(size=len(places)))

    def gathered(x: jax.Array) -> jax.Array:
        return x[jnp.asarray(places)]

    def picked(x: jax.Array) -> jax.Array:
        return _pick(x, places)

    ours, theirs = (jax.jvp(f, (values,), (along,)) for f in (picked, gathered))
    np.testing.assert_allclose(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1])
    back = [jax.vjp(f, values)[1](weights)[0] for f in (picked, gathered)]
    np.testing.assert_allclose(*back)


def test_neutral_row_does_nothing():
    assert set(DEFAULTS) | {"count"} == set(ROW_FIELDS)
    found = done(WEIGHT)
    assert float(found.flops[0] + found.weight_bytes[0] + found.message_bytes[0]) == 0.0


def test_kinds_are_named_once_and_have_one_operand_class():
    names = [kind.name for kind in KINDS]
    assert len(set(names)) == len(names)
    both = kind_column(KINDS, "weight") * kind_column(KINDS, "cache")
    assert not both.any()
