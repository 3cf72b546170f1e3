"""How fast do the cores of a GPU read a tile that each of them holds?

A tile and a number of passes -> a Pallas kernel in which every program reads the
whole tile again in each pass.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from codesign.core.quantities import Count

LANES = 1024  # 32-bit words that a program reads at once
WARPS = 8
PROGRAMS_PER_CORE = 8  # of 256 threads each: all that a core holds
USUAL_CORES = 128  # of a device that does not tell
STRIDE = 1  # blocks from one read to the next; known at run time only


def num_programs(device: Any) -> int:
    """Programs that fill the cores of a GPU."""
    cores = getattr(device, "core_count", None) or USUAL_CORES
    return PROGRAMS_PER_CORE * int(cores)


def drawn_tile(words: Count) -> Array:
    """Random 32-bit words."""
    draw = np.random.default_rng(0)
    return jnp.asarray(draw.integers(-(2**31), 2**31, int(words)), jnp.int32)


def passes_over(tile: Array, passes: int, *, programs: int) -> Array:
    """The result of ``reread`` for a number of passes that is known at run time."""
    return reread(tile, jnp.asarray((STRIDE, passes), jnp.int32), programs=programs)


@functools.partial(jax.jit, static_argnames=("programs", "interpret"))
def reread(
    tile: Array, walk: Array, *, programs: int, interpret: bool = False
) -> Array:
    """Sums of all blocks of a tile over passes, one row of words for each program.

    Program p reads block (p + i s) mod n in step i of n passes, with ``walk`` = (s,
    passes); an odd s visits each of the n blocks once a pass. No block is known at
    compile time, so none can be kept in registers: every read goes to the memory that
    holds the tile.

    Assumes: n is a power of two, blocks have 1024 words.
    """
    blocks = tile.size // LANES

    def kernel(*refs: Any) -> None:
        walk_ref, tile_ref, out_ref = refs
        first, stride, steps = pl.program_id(0), walk_ref[0], walk_ref[1] * blocks

        def add(i: Array, total: Array) -> Array:
            block = (first + i * stride) & (blocks - 1)
            return total + triton.load(tile_ref.at[pl.ds(block * LANES, LANES)])

        zero = jnp.zeros(LANES, tile.dtype)
        out_ref[...] = jax.lax.fori_loop(0, steps, add, zero)

    def whole(words: int) -> pl.BlockSpec:
        return pl.BlockSpec((words,), lambda _: (0,))

    return pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct((programs * LANES,), tile.dtype),
        grid=(programs,),
        in_specs=[whole(walk.size), whole(tile.size)],
        out_specs=pl.BlockSpec((LANES,), lambda program: (program,)),
        compiler_params=triton.CompilerParams(num_warps=WARPS),
        interpret=interpret,
    )(walk, tile)
