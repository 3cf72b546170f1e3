"""Our operator table against XLA's cost analysis of the Flax model."""

import jax.numpy as jnp
import pytest

from codesign.config.models import load_model
from codesign.measure.counts import (
    Shape,
    count_by_table,
    count_by_xla,
    count_state_by_xla,
    count_step_by_xla,
)
from codesign.measure.sizes import sizes_of
from codesign.model.transformer import Transformer
from tests.measure.models import RECURRENT, VALUES, tiny

HALF = jnp.dtype(jnp.bfloat16)
DECODE = Shape(batch=8, tokens=1, span=16)
PREFILL = Shape(batch=2, tokens=16, span=16)
ONE_OPERAND = {  # read once by our table and by XLA alike
    "qkv projection",
    "output projection",
    "ffn in",
    "ffn out",
    "router",
    "shared expert in",
    "shared expert out",
    "latent query projection",
    "latent output projection",
    "recurrent in",
    "recurrent out",
    "lm head",
}
PUBLISHED = ("llama-3-70b", "deepseek-v3", "nemotron-nano-9b-v2")


def in_16_bit(model: Transformer) -> Transformer:
    bits = dict.fromkeys(("weight_bits", "activation_bits", "kv_bits"), jnp.array(16.0))
    return model.replace(**bits)


@pytest.mark.parametrize("shape", [DECODE, PREFILL], ids=["decode", "prefill"])
@pytest.mark.parametrize("kind", VALUES)
def test_every_product_of_the_table_is_what_xla_counts(kind: str, shape: Shape):
    model = tiny(kind)
    ours = count_by_table(model, shape)
    theirs = count_by_xla(sizes_of(model), shape, dtype=HALF)
    assert {name for name, row in ours.items() if row.flops} == set(theirs)
    for name, row in theirs.items():
        dense_mask = name == "prefill attention, window"
        pairs = shape.span / float(model.window_size) if dense_mask else 1.0
        assert row.flops == pairs * ours[name].flops, name
        if name in ONE_OPERAND:
            assert row.traffic == ours[name].traffic, name


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_count_alike(name: str):
    model = in_16_bit(load_model(name))
    shape = Shape(batch=64, tokens=1, span=2048)
    ours = count_by_table(model, shape)
    for row, theirs in count_by_xla(sizes_of(model), shape, dtype=HALF).items():
        assert theirs.flops == pytest.approx(ours[row].flops, rel=1e-12), row


@pytest.mark.parametrize("kind", ["grouped", "latent", "experts", "recurrent"])
def test_whole_step_is_the_products_and_some_elementwise_work(kind: str):
    """XLA counts one FLOP per element and operation, we a lump per element."""
    model = tiny(kind)
    rows = count_by_table(model, DECODE).values()
    products = sum(row.flops for row in rows)
    whole = count_step_by_xla(sizes_of(model), DECODE, dtype=HALF)
    elementwise = whole.flops - products + whole.other_flops
    assert 0.5 < elementwise / sum(row.other_flops for row in rows) < 1.3


def test_state_update_takes_six_operations_per_element():
    sizes = sizes_of(tiny("recurrent"))
    elements = 8 * RECURRENT["recurrent.inner_size"] * RECURRENT["recurrent.state_size"]
    counted = count_state_by_xla(sizes, batch=8)
    assert counted.flops == pytest.approx(6 * elements, rel=0.03)
    row = count_by_table(tiny("recurrent"), DECODE)["recurrent state"]
    assert row.other_flops == 6 * elements * sizes.recurrent_layers


def test_gathered_experts_read_a_matrix_for_every_pair_of_token_and_expert():
    ours = count_by_table(tiny("experts"), DECODE)["experts out"]
    theirs = count_by_xla(sizes_of(tiny("experts")), DECODE, dtype=HALF)["experts out"]
    touched = 16 * (1 - (1 - 2 / 16) ** 8)
    assert theirs.traffic / ours.traffic == pytest.approx(16 / touched, rel=0.02)
