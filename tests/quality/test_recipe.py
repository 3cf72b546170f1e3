"""How formats came about: methods of rounding, training in a format."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.quality import load_quality_constants, load_quality_draws
from codesign.config.recipe import ROUNDED, Recipe, read_recipe
from codesign.config.yaml import Problems
from codesign.core.errors import InputError
from codesign.model.transformer import Transformer
from codesign.quality.constants import QualityConstants
from codesign.quality.contributions import gap_contributions
from codesign.quality.ensemble import paired, reference_under
from codesign.quality.evaluate import law_state, loss, quality
from codesign.quality.precision import Precision
from tests.helpers import tree_finite
from tests.quality.models import changed, corners, preset

METHODS = ("rtn", "kquant", "gptq", "awq", "kquant_imatrix", "omniquant", "aqlm")
NVFP4 = Recipe(trained=True, group_size=16)


@pytest.fixture(scope="module")
def trained() -> QualityConstants:
    return load_quality_constants(recipe=NVFP4)


def formats(model: Transformer, constants: QualityConstants) -> Precision:
    terms = law_state(model, constants).terms
    return Precision(
        weights=terms.precision_weights,
        activations=terms.precision_activations,
        kv=terms.precision_kv,
    )


def test_better_methods_cost_less(small: Transformer):
    narrow = changed(small, weight_bits=4, scale_bits=0.16)
    costs = [
        float(formats(narrow, load_quality_constants(recipe=Recipe(weights=m))).weights)
        for m in METHODS
    ]
    assert np.all(np.diff(costs) < 0)
    assert costs[2] / costs[0] == pytest.approx(0.036 / 0.082)


def test_naive_kv_rounding_is_an_order_worse(small: Transformer):
    narrow = changed(small, kv_bits=4)
    costs = [
        float(formats(narrow, load_quality_constants(recipe=Recipe(kv=name))).kv)
        for name in ("naive", "kvquant", "kvquant_outliers")
    ]
    assert costs[0] > 10 * costs[1] > 10 * costs[2]


def test_no_method_is_the_default_one(constants: QualityConstants):
    same = load_quality_constants(recipe=ROUNDED)
    assert float(same.precision.weight_price) == float(constants.precision.weight_price)
    assert same.trained is None


def test_unknown_method_is_named():
    with pytest.raises(InputError, match=r"gptqq.*Close: gptq"):
        load_quality_constants(recipe=Recipe(weights="gptqq"))


def test_training_in_nvfp4_costs_what_the_form_says(*, trained: QualityConstants):
    """12e9 parameters, 10e12 tokens: 0.025 nats; measured 0.012 to 0.018."""
    model = preset("llama-3-8b", training_tokens=10e12, ffn_size=24576)
    size = float(law_state(model, trained).size.active)
    assert size == pytest.approx(12e9, rel=0.05)
    narrow = changed(model, weight_bits=4, activation_bits=4, head_bits=16)
    found = formats(narrow, trained)
    assert float(found.weights + found.activations) == pytest.approx(0.025, abs=0.002)


def test_training_at_16_bit_costs_nothing(
    *, trained: QualityConstants, small: Transformer
):
    found = formats(small, trained)
    assert float(found.weights) == float(found.activations) == 0.0


def test_training_pays_off_where_rounding_breaks(
    *, trained: QualityConstants, constants: QualityConstants, small: Transformer
):
    """One bit less costs 3.2 times more when trained, 4 times when rounded."""
    ratios = []
    for bits in (2, 1):
        narrow = changed(small, weight_bits=bits, scale_bits=0)
        rounded, learned = (
            float(formats(narrow, c).weights) for c in (constants, trained)
        )
        ratios.append(learned / rounded)
    assert ratios[1] < ratios[0] < 1.0


@pytest.mark.parametrize("field", ["weight_bits", "activation_bits"])
def test_more_bits_are_never_worse_when_trained(
    *, trained: QualityConstants, small: Transformer, field: str
):
    levels = [
        loss(changed(small, **{field: bits}), trained)[0]
        for bits in np.arange(1.0, 16.5, 0.5)
    ]
    assert np.all(np.diff(levels) < 0)


def test_smaller_groups_cost_less(small: Transformer):
    narrow = changed(small, weight_bits=4, activation_bits=4)
    costs = [
        float(
            formats(
                narrow,
                load_quality_constants(recipe=Recipe(trained=True, group_size=group)),
            ).activations
        )
        for group in (16, 32, 128)
    ]
    assert np.all(np.diff(costs) > 0)


def test_draws_follow_the_recipe(*, small: Transformer, reference: Transformer):
    narrow = changed(small, weight_bits=4, activation_bits=4, scale_bits=0.5)
    spread = {}
    for name, recipe in (("rounded", ROUNDED), ("trained", NVFP4)):
        under = reference_under(load_quality_draws(count=256, recipe=recipe), reference)
        spread[name] = float(jnp.std(paired(narrow, under).gap))
    assert spread["trained"] < spread["rounded"]


def test_gradients_are_finite_at_every_corner_when_trained(
    *, trained: QualityConstants, reference: Transformer
):
    slope = jax.jit(jax.value_and_grad(lambda model: loss(model, trained)[0]))
    for name, model in corners(reference).items():
        assert tree_finite(slope(model)), name


def test_recipe_of_a_study():
    problems = Problems(file="study.yaml")
    found = read_recipe({"weights": "awq", "kv": "kivi"}, problems)
    assert found == Recipe(weights="awq", kv="kivi")
    assert read_recipe(None, problems) == ROUNDED
    assert read_recipe({"trained": True, "group_size": 16}, problems) == NVFP4
    assert not problems.found


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (3, "expected a mapping"),
        ({"weigths": "awq"}, "Did you mean weights"),
        ({"trained": "yes"}, "expected true or false"),
        ({"group_size": 0}, "expected a count above 1"),
    ],
)
def test_mistakes_in_a_recipe_are_named(entry: object, message: str):
    problems = Problems(file="study.yaml")
    read_recipe(entry, problems)
    assert message in problems.text()


def test_a_reference_of_another_recipe_is_judged_by_its_own():
    """A model with trained 4-bit weights is a better yardstick than a rounded one."""
    rounded, trained = (load_quality_constants(recipe=r) for r in (ROUNDED, NVFP4))
    model = preset("llama-3-70b")
    reference = changed(model, weight_bits=4, scale_bits=0.25, activation_bits=4)
    gaps = []
    for theirs in (None, rounded, trained):
        known = {"constants": rounded, "reference_constants": theirs}
        gaps.append(float(quality(model, reference=reference, **known).gap))
        parts = gap_contributions(model, reference, **known)
        assert sum(map(float, jax.tree.leaves(parts))) == pytest.approx(gaps[-1])
    assert gaps[0] == gaps[1]
    own = quality(reference, reference=model, constants=trained).gap
    assert gaps[2] == pytest.approx(-float(own))
    assert gaps[2] != pytest.approx(gaps[1], abs=0.05)


def test_draws_of_both_recipes_are_the_same_draws():
    ours, theirs = (
        load_quality_draws(count=16, recipe=recipe) for recipe in (ROUNDED, NVFP4)
    )
    model = preset("llama-3-70b")
    same = paired(model, reference_under(ours, model, own=theirs))
    assert float(jnp.max(jnp.abs(same.gap))) == 0.0
    narrow = changed(model, weight_bits=4, scale_bits=0.25)
    apart = paired(narrow, reference_under(ours, narrow, own=theirs))
    assert float(jnp.max(jnp.abs(apart.gap))) > 0.05
