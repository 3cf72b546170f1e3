"""Parameter counts: published totals, hand counts, limits, gradients."""

import jax
import jax.numpy as jnp
import pytest

from codesign.config.models import load_model
from codesign.model.huggingface import build_transformer
from codesign.model.parameters import (
    count_parameters,
    num_attention_layers,
    num_dense_ffn_layers,
    num_expert_layers,
)
from codesign.model.transformer import Transformer
from tests.helpers import assert_trees_close, tree_finite

TINY = {
    "hidden_size": 8,
    "num_layers": 3,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_size": 5,
    "ffn_size": 16,
    "vocab_size": 100,
}
"""Small enough to count by hand."""

EXPERTS = {
    "num_experts": 6,
    "num_active_experts": 2,
    "expert_size": 4,
    "shared_size": 7,
    "num_dense_layers": 1,
}

PUBLISHED = {
    "llama-2-70b": 68.98e9,
    "llama-3-8b": 8.03e9,
    "llama-3-70b": 70.55e9,
    "llama-3.1-405b": 405.85e9,
    "mixtral-8x7b": 46.70e9,
    "mixtral-8x22b": 140.62e9,
    "qwen2-72b": 72.71e9,
    "qwen3-8b": 8.19e9,
    "qwen3-32b": 32.76e9,
    "qwen3-30b-a3b": 30.53e9,
    "qwen3-235b-a22b": 235.09e9,
    "qwen3-coder-480b-a35b": 480.15e9,
    "deepseek-v2": 235.74e9,
    "deepseek-v3": 671.03e9,
    "gpt-oss-120b": 116.83e9,
    "gpt-oss-20b": 20.91e9,
    "nemotron-nano-12b-v2": 12.31e9,
    "llama-4-maverick": 400.71e9,
}
"""Number of weights in the released checkpoints, text decoder only."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_total_matches_the_released_checkpoint(name: str):
    total = float(count_parameters(load_model(name)).total)
    assert total == pytest.approx(PUBLISHED[name], rel=1e-3)


@pytest.mark.parametrize(
    ("name", "active"),
    [("deepseek-v2", 21e9), ("deepseek-v3", 37e9), ("mixtral-8x22b", 39e9)],
)
def test_active_parameters_match_the_paper(name: str, active: float):
    assert float(count_parameters(load_model(name)).active) == pytest.approx(
        active, rel=0.02
    )


def test_gpt_oss_paper_counts_active_without_the_input_table():
    count = count_parameters(load_model("gpt-oss-120b"))
    assert float(count.active - count.embedding) == pytest.approx(5.13e9, rel=1e-3)


def test_dense_count_by_hand():
    count = count_parameters(build_transformer(TINY))
    attention = 3 * (8 * 20 + 2 * 8 * 10 + 20 * 8)
    ffn = 3 * 3 * 8 * 16
    norm = 8 * 7
    assert float(count.attention) == attention
    assert float(count.dense_ffn) == ffn
    assert float(count.total) == attention + ffn + norm + 2 * 800
    assert float(count.active) == float(count.total)
    assert float(count.experts + count.router + count.shared + count.recurrent) == 0


def test_expert_count_by_hand():
    count = count_parameters(build_transformer(TINY | EXPERTS))
    assert float(count.dense_ffn) == 1 * 3 * 8 * 16
    assert float(count.one_expert) == 3 * 8 * 4
    assert float(count.experts) == 2 * 6 * 3 * 8 * 4
    assert float(count.shared) == 2 * 3 * 8 * 7
    assert float(count.router) == 2 * 8 * 6
    assert float(count.total - count.active) == 2 * (6 - 2) * 3 * 8 * 4


def test_latent_attention_by_hand():
    latent = {
        "latent_fraction": 1.0,
        "latent.query_rank": 6,
        "latent.kv_rank": 3,
        "latent.rope_size": 2,
        "latent.nope_size": 4,
        "latent.value_size": 5,
    }
    shared = 8 * (3 + 2) + 3 * 4 * (4 + 5) + 4 * 5 * 8
    compressed = count_parameters(build_transformer(TINY | latent)).attention
    assert float(compressed) == 3 * (8 * 6 + 6 * 4 * 6 + shared)
    direct = count_parameters(
        build_transformer(TINY | latent | {"latent.query_rank": 0})
    ).attention
    assert float(direct) == 3 * (8 * 4 * 6 + shared)


def test_gated_attention_by_hand():
    plain, gated = (
        count_parameters(build_transformer(TINY | {"gated_attention": gate})).attention
        for gate in (0.0, 1.0)
    )
    model = build_transformer(TINY)
    wider = float(model.num_layers * model.hidden_size) * float(
        model.num_heads * model.head_size
    )
    assert float(gated - plain) == wider


def test_recurrent_layers_by_hand():
    mixer = {
        "recurrent.num_layers": 2,
        "recurrent.inner_size": 10,
        "recurrent.state_size": 4,
        "recurrent.num_groups": 3,
        "recurrent.num_heads": 5,
        "recurrent.conv_size": 4,
    }
    model = build_transformer(TINY | mixer)
    assert float(num_attention_layers(model)) == 1
    projections = 8 * (2 * 10 + 2 * 12 + 5) + 10 * 8
    assert float(count_parameters(model).recurrent) == 2 * (projections + 4 * 34)


def test_tied_embeddings_count_once():
    free, tied = (
        count_parameters(build_transformer(TINY | {"tied_embeddings": share}))
        for share in (0.0, 1.0)
    )
    assert float(free.total - tied.total) == 800
    assert float(free.active - free.head) == float(tied.active - tied.head)


def test_layers_by_kind():
    hybrid = load_model("nemotron-nano-9b-v2")
    assert [float(f(hybrid)) for f in (num_attention_layers, num_dense_ffn_layers)] == [
        4,
        25,
    ]
    deepseek = load_model("deepseek-v3")
    assert float(num_dense_ffn_layers(deepseek)) == 3
    assert float(num_expert_layers(deepseek)) == 58
    assert float(num_expert_layers(load_model("llama-3-8b"))) == 0


def test_one_active_expert_of_dense_width_uses_what_the_dense_model_uses():
    dense = count_parameters(build_transformer(TINY))
    sparse = count_parameters(build_transformer(TINY | {"num_experts": 8}))
    assert float(sparse.active - sparse.router) == pytest.approx(float(dense.active))


def test_relaxed_experts_blend_without_a_jump():
    model = build_transformer(TINY | EXPERTS)
    count = jnp.linspace(1.0, 2.5, 61)
    totals = jax.vmap(lambda n: count_parameters(model.replace(num_experts=n)).total)(
        count
    )
    dense = count_parameters(model.replace(num_experts=jnp.array(1.0)))
    assert float(totals[0]) == float(dense.total)
    assert float(jnp.max(jnp.abs(jnp.diff(totals)))) < 0.1 * float(dense.total)


@pytest.mark.parametrize("name", ["llama-3-8b", "deepseek-v3", "nemotron-nano-9b-v2"])
def test_gradients_are_finite(name: str):
    model = load_model(name)
    for of in ("total", "active"):
        slopes = jax.grad(lambda m, of=of: getattr(count_parameters(m), of))(model)
        assert tree_finite(slopes)


def test_dense_model_feels_the_number_of_experts():
    slopes = jax.grad(lambda m: count_parameters(m).total)(build_transformer(TINY))
    assert float(slopes.num_experts) != 0.0


def test_one_trace_serves_every_model():
    traces = []

    @jax.jit
    def total(model: Transformer) -> jax.Array:
        traces.append(1)
        return count_parameters(model).total

    models = [load_model(name) for name in ("llama-3-8b", "deepseek-v3", "gpt-oss-20b")]
    alone = jnp.stack([total(model) for model in models])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    batched = jax.vmap(lambda model: count_parameters(model).total)(stacked)
    assert len(traces) == 1
    assert_trees_close(alone, batched)
