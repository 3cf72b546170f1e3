"""The Flax model is a working transformer with the parameters that we count."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array

from codesign.core.errors import InputError
from codesign.measure.reference import ReferenceTransformer, num_parameters
from codesign.measure.sizes import layer_plans, shortened, sizes_of
from codesign.model.parameters import count_parameters
from codesign.model.transformer import Transformer
from tests.measure.models import VALUES, tiny

FLOAT = jnp.dtype(jnp.float32)
TOKENS = 7


RUN = ("gated, window, experts, tied", "latent", "latent, query direct", "recurrent")


@cache
def abstract(kind: str) -> ReferenceTransformer:
    """The model without values."""
    sizes = sizes_of(tiny(kind))
    return nnx.eval_shape(lambda: ReferenceTransformer(sizes, dtype=FLOAT))


@cache
def built(kind: str) -> ReferenceTransformer:
    """The model with seeded random values, drawn without a program per weight."""
    graph, state = nnx.split(abstract(kind))
    draw = np.random.default_rng(0)
    leaves, tree = jax.tree.flatten(state)
    values = [jnp.asarray(draw.normal(0, 0.2, x.shape), x.dtype) for x in leaves]
    return nnx.merge(graph, jax.tree.unflatten(tree, values))


def left_out(model: Transformer) -> float:
    """Small weights of the real model that the count leaves out."""
    mixer, latent = model.recurrent, model.latent
    decay_step_skip_norm = 3 * mixer.num_heads + mixer.inner_size
    attention = model.num_layers - mixer.num_layers
    norms = model.latent_fraction * attention * (latent.query_rank + latent.kv_rank)
    return float(mixer.num_layers * decay_step_skip_norm + norms)


@pytest.mark.parametrize("kind", VALUES)
def test_real_model_has_the_parameters_that_we_count(kind: str):
    model = tiny(kind)
    real = num_parameters(abstract(kind))
    assert real - left_out(model) == float(count_parameters(model).total)


@pytest.mark.parametrize("kind", RUN)
def test_decode_continues_what_prefill_began(kind: str):
    """Cache, window, absorption and state: a step equals a longer prompt."""
    model = built(kind)
    drawn = np.random.default_rng(1).integers(0, 96, (1, TOKENS + 1))
    graph, state = nnx.split(model)

    @jax.jit
    def both(state: Any, tokens: Array) -> tuple[Array, Array]:
        run = nnx.merge(graph, state)
        empty = run.empty(1, length=TOKENS + 1)
        start, last = jnp.array(0), jnp.array(TOKENS)
        _, caches = run(tokens[:, :-1], empty, position=start)
        step, _ = run(tokens[:, -1:], caches, position=last)
        whole, _ = run(tokens, empty, position=start)
        return step, whole

    step, whole = both(state, drawn)
    np.testing.assert_allclose(step, whole, atol=1e-4)
    assert float(np.std(whole)) > 0.1


def test_experts_by_place_are_those_by_gathering():
    experts = built("experts").layers[1].feedforward
    flat = jnp.asarray(np.random.default_rng(1).normal(size=(8, 32)), FLOAT)
    chosen = jnp.arange(16).reshape(8, 2)  # one pair for each expert
    np.testing.assert_allclose(
        experts._placed(flat, chosen), experts._gathered(flat, chosen), atol=1e-4
    )


def test_expert_without_a_place_gives_nothing():
    experts = built("experts").layers[1].feedforward
    flat = jnp.asarray(np.random.default_rng(1).normal(size=(8, 32)), FLOAT)
    chosen = jnp.zeros((8, 2), int)  # all sixteen pairs want the one place of one
    done = experts._placed(flat, chosen)
    assert int(jnp.sum(jnp.any(done != 0, axis=-1))) == 1


def test_layers_of_every_kind_are_as_many_as_the_model_says():
    plans = layer_plans(sizes_of(tiny("linear")))
    assert [p.mixer for p in plans] == ["recurrent", "recurrent", "grouped"]
    assert [p.feedforward for p in plans] == ["dense", "experts", "none"]
    windows = [p.window for p in layer_plans(sizes_of(tiny(RUN[0])))]
    assert windows == [5, 5, 0]


def test_shorter_models_keep_their_kinds_in_proportion():
    from codesign.config.models import load_model

    cut = shortened(sizes_of(load_model("deepseek-v3")), 4)
    assert (cut.num_layers, cut.num_dense_layers) == (4, 0)
    gemma = shortened(sizes_of(load_model("gemma-3-27b")), 6)
    assert gemma.num_window_layers == 5


def test_relaxed_models_cannot_be_run():
    with pytest.raises(InputError, match=r"model\.hidden_size is 32\.5"):
        sizes_of(tiny("grouped").replace(hidden_size=jnp.array(32.5)))
