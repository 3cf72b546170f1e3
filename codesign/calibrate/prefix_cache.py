"""Are prompts that come again still in the prefix cache?

Designs and loads of measured runs -> tokens that a cache can hold; a run -> the share
of its repeated prompts that it still holds.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from codesign.config.rows import MeasuredRow
from codesign.core.compiler import jitted
from codesign.core.quantities import Fraction, Tokens
from codesign.cost.residency import CACHE_STEEPNESS, memory
from codesign.hardware.silicon import silicon
from codesign.serving.design import Design
from codesign.serving.load import Load
from codesign.technology.constants import Technology


def cache_tokens(designs: Design, loads: Load, *, technology: Technology) -> np.ndarray:
    """Tokens whose keys and values one replica can hold beside its weights.

    Designs and loads have an axis of runs, as has the result.
    """
    return np.asarray(_cache_tokens((designs, loads), technology=technology))


@jitted()
def _cache_tokens(runs: tuple[Design, Load], *, technology: Technology) -> Array:
    def one(design: Design, load: Load) -> Array:
        built = silicon(design.chip, technology)
        held = memory(design, load, built=built)
        room = jnp.maximum(held.available - held.weight_bytes, 0.0)
        return load.context * room / held.kv_bytes_per_sequence

    return jax.vmap(one)(*runs)


def cached_share(row: MeasuredRow, *, room: Tokens) -> Fraction:
    """Share of the repeated prompts of a run that are still cached.

    N prompts come in turn, then again. Between the end of a request and the next one
    with its prompt the (N - B)+ others pass, with (P + L) tokens each; the blocks free
    for them are F = d room - min(B, N) P - B age:

    1 / (d (1 + ((N - B)+ (P + L) / F)^8)),  none where F <= 0

    Assumes: blocks leave in the order of their last use, of which a cyclic scan larger
    than the cache hits nothing; a request comes to any of the d replicas.
    Source: block pool of vLLM (docs.vllm.ai, design/prefix_caching); order of requests:
    ``load_requests`` in mlenergy/benchmark/llm/workloads.py of ml-energy/benchmark.
    """
    own = row.prompt_length - row.shared_length
    different = min(row.batch, row.distinct_prompts)
    free = row.data_parallel * room - different * own - row.batch * row.age
    if free <= 0:
        return 0.0
    between = (row.distinct_prompts - different) * (own + row.output_length)
    return 1 / (row.data_parallel * (1 + (between / free) ** CACHE_STEEPNESS))
