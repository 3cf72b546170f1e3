"""What is a row of the operator table, and how much work is it?

A row is one kind of operator of one layer kind on one chip, after tensor,
expert and pipeline parallelism, with a count of executions per step. Shapes,
operand formats and copies are filled in by the files beside this one; FLOP,
bytes by level and messages are derived here for all rows at once.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from codesign.core.quantities import Bits, Bytes, Count, Factor, Flop, Fraction, Macs
from codesign.core.record import Record
from codesign.core.smooth import Sharpness, round_up, smooth_max


class OperatorTable(Record):
    """Shapes, formats and copies; every field has one entry per row.

    One execution does ``copies`` products of (rows x inner) by (inner x cols).
    Each copy has a stored operand of cols x inner elements, times
    ``stored_factor`` where parts of it are shared (latent attention) or zero. A
    ``density`` below 1 are weights that are not zero, in a pattern that hardware
    may skip; a share ``touched`` of the inner elements is needed at all.
    ``vector_flops`` runs on the vector units, ``traffic`` adds bytes that are
    no operand (sampling, norms), ``message_bytes`` go to each of
    ``num_peers`` other chips' shares in ``num_messages`` collectives.
    ``hot_factor`` is the busiest rank's work over the mean, ``reused_width`` the
    part of N + K that other copies have moved already.
    """

    count: Count
    copies: Count
    rows: Count
    cols: Count
    inner: Count
    stored_bits: Bits
    activation_bits: Bits
    math_bits: Bits
    stored_factor: Factor
    vector_flops: Flop
    traffic: Bytes
    message_bytes: Bytes
    num_messages: Count
    num_peers: Count
    hot_factor: Factor
    reused_width: Count
    density: Fraction
    touched: Fraction


class RowKind(NamedTuple):
    """What is fixed about a row: name, class of its stored operand, kernels.

    ``weight``, ``cache`` and ``expert`` are 0 or 1: the stored operand is a
    weight, is KV cache or state, belongs to routed experts. ``attends`` is 1 where
    every row of queries meets every row of the cache, ``prompt`` where the queries are
    those of a prompt, ``wide`` where vector arithmetic is in 32 bit.
    ``kernels`` counts launches per execution, ``expert_kernels`` the grouped
    kernels of expert layers.
    """

    name: str
    weight: float = 0.0
    cache: float = 0.0
    expert: float = 0.0
    attends: float = 0.0
    prompt: float = 0.0
    wide: float = 0.0
    kernels: float = 1.0
    expert_kernels: float = 0.0


class Work(Record):
    """Work of each row per step and chip, all executions together.

    ``macs`` are useful, ``padded_macs`` executed with idle lanes of the tile;
    weight, cache and activation bytes are what the operand levels must move.
    """

    flops: Flop
    macs: Macs
    padded_macs: Macs
    hot_macs: Macs
    weight_bytes: Bytes
    hot_weight_bytes: Bytes
    cache_bytes: Bytes
    activation_bytes: Bytes
    extra_bytes: Bytes
    vector_flops: Flop
    message_bytes: Bytes
    num_messages: Count
    num_peers: Count


ROW_FIELDS = tuple(OperatorTable.__dataclass_fields__)
DEFAULTS = {
    "copies": 1.0,
    "rows": 0.0,
    "cols": 0.0,
    "inner": 0.0,
    "stored_bits": 16.0,
    "activation_bits": 16.0,
    "math_bits": 16.0,
    "stored_factor": 1.0,
    "vector_flops": 0.0,
    "traffic": 0.0,
    "message_bytes": 0.0,
    "num_messages": 0.0,
    "num_peers": 0.0,
    "hot_factor": 1.0,
    "reused_width": 0.0,
    "density": 1.0,
    "touched": 1.0,
}


class Row(NamedTuple):
    """One row while the table is built: its kind and the fields it sets."""

    kind: RowKind
    fields: dict[str, Array | float]


def row(kind: RowKind, **fields: Array | float) -> Row:
    """A row; fields that are not given keep the neutral value."""
    return Row(kind, {**DEFAULTS, **fields})


def stack_rows(rows: list[Row], kinds: tuple[RowKind, ...]) -> OperatorTable:
    """The table of a list of rows.

    Raises:
        ValueError: the rows do not have the given kinds in order.
    """
    if tuple(r.kind for r in rows) != kinds:
        raise ValueError("rows stand in another order than their kinds")
    return OperatorTable(
        **{name: _column([r.fields[name] for r in rows]) for name in ROW_FIELDS}
    )


def _column(cells: list[Array | float]) -> Array:
    """A column of cells, most of which repeat a few traced values or constants."""
    traced = {id(c): c for c in cells if not isinstance(c, float)}
    if not traced:
        return jnp.array(cells)
    constants = sorted({c for c in cells if isinstance(c, float)})
    distinct = jnp.stack(
        [jnp.asarray(c, jnp.float64) for c in (*traced.values(), *constants)]
    )
    position = {key: index for index, key in enumerate(traced)}
    return _pick(
        distinct,
        tuple(
            len(traced) + constants.index(c)
            if isinstance(c, float)
            else position[id(c)]
            for c in cells
        ),
    )


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _pick(values: Array, places: tuple[int, ...]) -> Array:
    """values[places], whose derivative is a product with a constant matrix.

    On a CPU slices that are put together run three times as fast as a gather; the
    sums of slices that transpose them would compile twice as long as all the rest.
    """
    return jnp.concatenate([values[place : place + 1] for place in places])


@_pick.defjvp
def _(places: tuple[int, ...], *pair: tuple[Array]) -> tuple[Array, Array]:
    (values,), (tangent,) = pair
    matrix = np.eye(len(values))[:, list(places)]
    return _pick(values, places), tangent @ jnp.asarray(matrix)


def kind_column(kinds: tuple[RowKind, ...], name: str) -> Array:
    """One fixed property of all rows as a constant array."""
    return jnp.array([getattr(kind, name) for kind in kinds], jnp.float64)


class Tiles(Record):
    """Tile of the matrix units and the SRAM that holds operands of one product."""

    rows: Count
    cols: Count
    inner: Count
    capacity: Bytes
    activation_share: Fraction


def work(
    table: OperatorTable,
    kinds: tuple[RowKind, ...],
    *,
    tiles: Tiles,
    sharpness: Sharpness,
) -> Work:
    """FLOP, bytes by operand and messages of every row.

    F = 2 count copies M N K,  stored = count copies N K b_s / 8,
    activations = count copies M (N + K - reused) b_a / 8, raised to the IO bound
    2 M N K / sqrt(S) of a product whose operands do not fit in S. Attention reads its
    cache once for each block of queries that fits: max(1, M (K / 2) b_a / 8 / S) times,
    M N K^2 / 2 / S elements in all.

    Assumes: stored operands are otherwise read once per execution and copy.
    Source: Hong and Kung, "The red-blue pebble game", STOC 1981, for the bound; Dao et
    al., "FlashAttention", NeurIPS 2022, N^2 d^2 / S for attention.
    """
    is_weight, is_cache = kind_column(kinds, "weight"), kind_column(kinds, "cache")
    runs = table.count * table.copies
    inner = table.inner * table.touched
    macs = runs * table.rows * table.cols * inner
    padded = (
        runs
        * round_up(table.rows, multiple=tiles.rows, sharpness=sharpness)
        * round_up(table.cols, multiple=tiles.cols, sharpness=sharpness)
        * round_up(inner, multiple=tiles.inner, sharpness=sharpness)
    )
    padded = jnp.where(macs > 0, padded, 0.0)
    stored = runs * table.cols * inner * table.stored_factor
    stored = stored * table.stored_bits / 8
    operand = table.activation_bits / 8
    widths = table.cols + table.inner - table.reused_width
    moved = runs * table.rows * widths * operand
    bound = is_weight * 2 * macs * operand / jnp.sqrt(tiles.capacity / operand)
    moved = jnp.where(macs > 0, moved * (1 - is_cache), 0.0)
    touched = moved + stored
    activations = moved + smooth_max(touched, bound, sharpness=sharpness) - touched
    queries = table.rows * table.inner / 2 * operand / tiles.capacity
    blocks = smooth_max(1.0, queries, sharpness=sharpness)
    passes = 1 + kind_column(kinds, "attends") * (blocks - 1)
    return Work(
        flops=2 * macs,
        macs=macs,
        padded_macs=padded,
        hot_macs=padded * table.hot_factor,
        weight_bytes=stored * is_weight,
        hot_weight_bytes=stored * is_weight * table.hot_factor,
        cache_bytes=stored * is_cache * passes,
        activation_bytes=activations * tiles.activation_share,
        extra_bytes=table.count * table.traffic,
        vector_flops=table.count * table.vector_flops,
        message_bytes=table.count * table.message_bytes,
        num_messages=table.count * table.num_messages,
        num_peers=table.num_peers,
    )
