"""How fast is memory on the chip? Loops over a tile that stays there.

Bytes of a tile -> a program that goes over it as often as asked, and what a pass
moves. A tile of some KiB stays beside one core (first-level cache and shared memory),
one of some MiB in the cache of all cores.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from codesign.core.quantities import Bytes, Flop, Seconds
from codesign.measure.rereads import LANES, drawn_tile, num_programs, passes_over

CORE_TILE: Bytes = 16.0 * 2**10  # half of the smallest first-level cache in use
GPUS = ("gpu", "cuda", "rocm")
MOST_PASSES = 2**19
TRIALS = 4
REAL = 1.5  # times the time of a loop that twice the passes take at least


@dataclass(frozen=True)
class Loop:
    """A program that takes a number of passes; words of its tile, work of a pass."""

    run: Callable[[int], Any]
    words: int
    pass_bytes: Bytes
    pass_flops: Flop


def resident_loop(size: Bytes, *, platform: str) -> Loop:
    """A loop over a tile of at most ``size``, rounded down to a power of two.

    On a GPU every program reads the whole tile in each pass, by a Pallas kernel.
    Elsewhere one fused loop reads and writes it in place, on a processor in one
    core if the tile is small. The number of passes is an argument, so that no
    compiler can unroll or shorten the loop; ``enough_passes`` and ``REAL`` check it.
    """
    words = _power_of_two(float(size) / np.dtype(np.float32).itemsize)
    if platform in GPUS:
        return _rereads(words)
    x = jnp.linspace(0.0, 1.0, words, dtype=jnp.float32)
    return Loop(
        run=lambda passes: rewritten(x, jnp.int32(passes)),
        words=words,
        pass_bytes=2.0 * x.nbytes,
        pass_flops=float(words),
    )


def enough_passes(loop: Loop, *, seconds: Seconds) -> int:
    """The least power of two of passes whose fastest call takes as long as asked.

    The fastest of several, since the first may compile and others may wait for
    other work of the machine.
    """
    passes = 1
    while passes < MOST_PASSES and min(_spans(loop, passes)) < seconds:
        passes *= 2
    return passes


@jax.jit
def rewritten(x: Array, passes: Array) -> Array:
    """A vector after passes that read and write each element in place, y = 1 - y."""
    return jax.lax.fori_loop(0, passes, lambda _, y: 1 - y, x)


def _spans(loop: Loop, passes: int) -> Iterator[Seconds]:
    for _ in range(TRIALS):
        start = time.perf_counter()
        jax.block_until_ready(loop.run(passes))
        yield time.perf_counter() - start


def _rereads(words: int) -> Loop:
    programs, tile = num_programs(jax.devices()[0]), drawn_tile(max(LANES, words))
    return Loop(
        run=lambda passes: passes_over(tile, passes, programs=programs),
        words=tile.size,
        pass_bytes=float(programs) * tile.nbytes,
        pass_flops=float(programs) * tile.size,
    )


def _power_of_two(number: float) -> int:
    return 1 << max(0, int(number).bit_length() - 1)
