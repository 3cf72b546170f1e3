"""Bytes of text, life with training, thinking to a target, equal terms."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.design import build_design
from codesign.config.models import load_model
from codesign.config.quality import load_quality_constants
from codesign.core.paths import path_units
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.outcome.lifetime import inference_energy, training_energy
from codesign.outcome.service import Service
from codesign.outcome.terms import AS_PLACED, Terms, answer_shortfall, comparable
from codesign.outcome.text import PER_BYTE, costs_per_byte, tokens_per_byte
from codesign.outcome.thinking import (
    Thinking,
    accuracy,
    answer_target,
    model_thinker,
    shortfall,
    thinking_tokens,
)
from codesign.quality.capacity import law_size
from codesign.quality.constants import QualityConstants
from codesign.quality.laws import dense_excess
from codesign.serving.design import Design
from codesign.study.service import service
from tests.helpers import assert_trees_close

MODEL = "llama-3-70b"


@pytest.fixture(scope="module")
def constants() -> QualityConstants:
    return load_quality_constants()


def placed(model: str = MODEL, **more: Any) -> Design:
    return build_design(
        chip="h100-sxm",
        num_chips=8,
        model=model,
        tensor_parallel=8,
        batch=64,
        prompt_length=1024,
        output_length=256,
        **more,
    )


def with_vocabulary(design: Design, words: float) -> Design:
    model = design.model.replace(vocab_size=jnp.asarray(words))
    return design.replace(model=model)


@pytest.mark.parametrize(("words", "bytes_per_token"), [(32e3, 3.96), (128e3, 4.36)])
def test_bytes_per_token_are_the_published_ones(
    *, constants: QualityConstants, words: float, bytes_per_token: float
):
    found = 1.0 / float(tokens_per_byte(words, constants.text))
    assert found == pytest.approx(bytes_per_token, abs=0.04)


def test_a_larger_vocabulary_never_means_more_tokens(constants: QualityConstants):
    found = tokens_per_byte(jnp.geomspace(1e3, 1e7, 60), constants.text)
    assert bool(jnp.all(jnp.diff(found) <= 1e-12))
    assert bool(jnp.all(found > 0.0))


def test_costs_of_a_byte_follow_costs_of_a_token(constants: QualityConstants):
    model = load_model(MODEL)
    found = [
        costs_per_byte(
            SimpleNamespace(**dict.fromkeys(PER_BYTE, cost)),
            model,
            constants=constants.text,
        )
        for cost in (1.0, 2.0)
    ]
    assert found[0].keys() <= path_units(Service).keys()
    assert path_units(Cost).keys() >= PER_BYTE.keys()
    for name, value in found[0].items():
        assert float(found[1][name]) == pytest.approx(2.0 * float(value))
        assert 0.2 < float(value) < 0.26


def test_a_request_keeps_its_text_when_the_vocabulary_changes(
    constants: QualityConstants,
):
    """Four times the words: a tenth fewer tokens, the same bytes."""
    base = with_vocabulary(placed(lifetime_tokens=1e15), 32e3)
    design = with_vocabulary(base, 128e3)
    found = comparable(
        design,
        Terms(text=True),
        base=base,
        reference=base.model,
        constants=constants,
    )
    ratio = float(found.request.output_length / base.request.output_length)
    assert ratio == pytest.approx(3.96 / 4.36, abs=0.01)
    for before, after in ((base, base), (design, found)):
        size = tokens_per_byte(before.model.vocab_size, constants.text)
        text = [float(length / size) for length in _lengths(after)]
        plain = tokens_per_byte(base.model.vocab_size, constants.text)
        assert text == pytest.approx([float(n / plain) for n in _lengths(base)])


def _lengths(design: Design) -> tuple[Any, ...]:
    request = design.request
    return request.prompt_length, request.output_length, request.lifetime_tokens


def test_without_terms_a_design_is_as_placed(constants: QualityConstants):
    design = placed()
    known: dict[str, Any] = {"reference": design.model, "constants": constants}
    found = comparable(design, AS_PLACED, base=design, **known)
    assert found is design
    every = comparable(design, Terms(True, True, True), base=design, **known)
    assert_trees_close(every, design, rtol=1e-9)


def test_service_adds_up():
    design = placed(lifetime_tokens=1e15)
    cost = evaluate(design)
    found = service(design, cost)
    energy = float(cost.energy_per_token_server)
    assert float(found.energy_per_answer) == pytest.approx(256.0 * energy)
    assert float(found.inference_energy) == pytest.approx(1e15 * energy)
    total = float(found.training_energy + found.inference_energy)
    assert float(found.lifetime_energy) == pytest.approx(total)
    text = float(found.energy_per_byte_server * found.bytes_per_token)
    assert text == pytest.approx(energy)
    assert 0.75 < float(found.accuracy) < 0.9


def test_unknown_training_tokens_leave_only_what_rests_on_them_unknown():
    design = placed()
    model = design.model.replace(training_tokens=jnp.asarray(0.0))
    found = service(design.replace(model=model))
    assert np.isnan(float(found.lifetime_energy))
    assert np.isnan(float(found.accuracy))
    assert float(found.energy_per_byte) > 0.0


def test_training_of_a_70b_model_takes_what_its_fleet_took():
    """6.4e6 hours of 700 W by its model card, 954 W at the plug, within a quarter."""
    design = placed(lifetime_tokens=2e15)
    found = float(training_energy(design))
    compute = 6.0 * float(law_size(design.model).active) * 15e12
    per_flop = float(design.technology.datacenter.training_energy)
    assert found == pytest.approx(compute * per_flop)
    assert found == pytest.approx(6.4e6 * 3600.0 * 954.0, rel=0.25)
    used = float(inference_energy(design, SimpleNamespace(energy_per_token_server=0.5)))
    assert used == pytest.approx(1e15)


def test_demand_shifts_the_optimum_as_derived(constants: QualityConstants):
    """eps_N / eps_D = 1 + D_inf / (3 D) at the least 6 N D + 2 N D_inf.

    Sardana et al., arXiv 2401.00448: eps are elasticities of the reducible loss.
    """
    laws = jax.tree.map(lambda leaf: leaf[0], constants.laws)
    target, demand = 0.15, 5e12

    def tokens_for(size: np.ndarray) -> np.ndarray:
        left = target - laws.size_coefficient * size ** -float(laws.size_exponent)
        left = np.where(left > 0, left, np.nan)
        return (left / laws.data_coefficient) ** (-1.0 / laws.data_exponent)

    sizes = np.geomspace(5e9, 5e12, 400001)
    tokens = np.asarray(tokens_for(sizes))
    best = int(np.nanargmin(6 * sizes * tokens + 2 * sizes * demand))
    size, trained = sizes[best], tokens[best]
    whole = dense_excess(laws, log_parameters=np.log(size), tokens=trained)
    part = laws.size_coefficient * size ** -float(laws.size_exponent)
    by_size = laws.size_exponent * part
    by_data = laws.data_exponent * (whole - part)
    expected = 1.0 + demand / (3.0 * trained)
    assert float(by_size / by_data) == pytest.approx(expected, rel=1e-3)


THINKER = Thinking(
    start=0.4, ceiling=0.8, scale=500.0, exponent=0.5, least=32.0, most=1e6
)


def test_thinking_reaches_its_target():
    tokens = thinking_tokens(THINKER, 0.7)
    assert float(accuracy(THINKER, tokens)) == pytest.approx(0.7)
    assert float(shortfall(THINKER, 0.7)) < 0.0
    assert float(thinking_tokens(THINKER, 0.3)) == 32.0


@pytest.mark.parametrize("target", [0.799, 0.8, 0.9])
def test_endless_thought_is_out_of_reach(target: float):
    """A tiny model cannot buy its way past its ceiling, nor past the cap."""
    capped = THINKER.replace(most=32e3)
    assert float(thinking_tokens(capped, target)) == pytest.approx(32e3)
    assert float(shortfall(capped, target)) > 0.0


def test_slopes_of_thinking_are_finite_everywhere():
    def tokens(start: Any, target: Any) -> Any:
        return thinking_tokens(THINKER.replace(start=start, most=32e3), target)

    slope = jax.vmap(jax.grad(tokens, argnums=(0, 1)))
    targets = jnp.array([0.2, 0.4, 0.6, 0.75, 0.8, 0.9])
    found = slope(jnp.full(6, 0.4), targets)
    assert bool(jnp.all(jnp.isfinite(jnp.stack(found))))


def test_a_better_model_needs_fewer_tokens_and_a_small_one_cannot_answer(
    constants: QualityConstants,
):
    """Equal answers: 405B thinks less than 70B, 8B falls short at any length."""
    base = placed()
    reference = base.model
    lengths, short = [], []
    for name in ("llama-3.1-405b", MODEL, "llama-3-8b"):
        model = load_model(name, training_tokens=15e12)
        known: dict[str, Any] = {"reference": reference, "constants": constants}
        found = comparable(
            base.replace(model=model), Terms(answers=True), base=base, **known
        )
        lengths.append(float(found.request.output_length))
        short.append(float(answer_shortfall(model, tokens=256.0, **known)))
    assert lengths[0] < 0.6 * 256.0
    assert lengths[1] == pytest.approx(256.0)
    assert lengths[2] == pytest.approx(float(constants.thinking.most))
    assert short[0] < 0.0
    assert short[1] < 0.0
    assert short[2] > 0.0


def test_equal_answers_are_as_accurate_as_the_reference(constants: QualityConstants):
    base = placed()
    target = answer_target(base.model, 256.0, constants=constants)
    model = base.model.replace(num_layers=jnp.asarray(75.0))
    thinker = model_thinker(model, constants)
    tokens = thinking_tokens(thinker, target)
    assert float(tokens) > 256.0
    assert float(accuracy(thinker, tokens)) == pytest.approx(float(target))


def test_slopes_of_equal_terms_are_finite(constants: QualityConstants):
    """Tokens of answers, their limit and training over size, data and vocabulary."""
    base = placed(lifetime_tokens=1e15)
    known: dict[str, Any] = {"reference": base.model, "constants": constants}

    def values(at: jax.Array) -> jax.Array:
        layers, trained, words = jnp.exp(at)
        model = base.model.replace(
            num_layers=layers, training_tokens=trained, vocab_size=words
        )
        design = comparable(
            base.replace(model=model), Terms(False, True, True), base=base, **known
        )
        short = answer_shortfall(model, tokens=256.0, **known)
        parts = (design.request.output_length, short, training_energy(design))
        return jnp.stack([jnp.asarray(part) for part in parts])

    slopes = jax.jit(jax.jacfwd(values))
    for layers, trained, words in (
        (80.0, 15e12, 128e3),
        (1.0, 1e9, 2.0),
        (500.0, 1e15, 1e7),
        (8.0, 5e12, 32e3),
    ):
        assert bool(
            jnp.all(jnp.isfinite(slopes(jnp.log(jnp.array([layers, trained, words])))))
        )
