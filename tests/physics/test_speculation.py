"""A draft model guesses tokens: faster for few users, a loss for many."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.models import load_model
from codesign.config.quality import load_quality_constants
from codesign.core.compiler import cpu_options
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.cost.total import Prepared, cost, drafting, prepare, step_costs
from codesign.outcome.speculative import acceptance, with_acceptance
from codesign.quality.constants import QualityConstants
from codesign.quality.evaluate import quality
from codesign.serving.deployment import Deployment
from codesign.serving.design import Design
from codesign.serving.load import expected_tokens
from tests.helpers import assert_trees_close
from tests.physics.designs import preset_design, with_values

TARGET, DRAFT = "llama-3-70b", "llama-3-8b"


def speculating(
    batch: float, *, guesses: float = 4.0, chance: float = 0.75, **more: Any
) -> Design:
    design = preset_design(
        "h100-sxm", TARGET, num_chips=8.0, tensor_parallel=8.0, batch=batch, **more
    )
    drafted = design.replace(draft=load_model(DRAFT))
    return with_values(
        drafted, deployment__draft_tokens=guesses, deployment__acceptance=chance
    )


def plain(design: Design) -> Design:
    return design.replace(draft=None)


@pytest.fixture(scope="module")
def constants() -> QualityConstants:
    return load_quality_constants()


def gain(batch: float, **more: Any) -> tuple[float, float]:
    """Time and energy per token over those without a draft model."""
    design = speculating(batch, **more)
    ours, theirs = evaluate(design), evaluate(plain(design))
    return tuple(
        float(getattr(ours, name) / getattr(theirs, name))
        for name in ("time_per_output_token", "energy_per_token")
    )


def deployment(guesses: float, chance: float) -> Deployment:
    return speculating(1.0, guesses=guesses, chance=chance).deployment


@pytest.mark.parametrize(
    ("guesses", "chance", "tokens"),
    [(4.0, 0.8, 3.3616), (3.0, 0.0, 1.0), (5.0, 1.0, 6.0), (1.0, 0.6, 1.6)],
)
def test_expected_tokens_are_a_geometric_series(
    *, guesses: float, chance: float, tokens: float
):
    found = float(expected_tokens(deployment(guesses, chance)))
    assert found == pytest.approx(tokens, rel=1e-6)


def test_without_a_draft_model_nothing_changes():
    """Guesses without a model that makes them are not used, to the last bit."""
    design = speculating(16.0)
    off = with_values(plain(design), deployment__draft_tokens=0.0)
    assert_trees_close(evaluate(plain(design)), evaluate(off), rtol=0.0)


def test_few_users_gain_and_many_lose():
    for time, energy in (gain(1.0), gain(4.0)):
        assert time < 0.8
        assert energy < 0.8
    time, energy = gain(512.0)
    assert time > 1.2
    assert energy > 1.2


def test_guesses_that_are_never_right_only_cost():
    time, energy = gain(1.0, chance=0.0)
    assert time > 1.3
    assert energy > 1.1


def test_the_best_number_of_guesses_lies_inside():
    times = [gain(1.0, guesses=g)[0] for g in (1.0, 2.0, 3.0, 5.0, 8.0)]
    assert 0 < int(np.argmin(times)) < len(times) - 1


def test_a_draft_model_takes_memory_of_its_own():
    design = speculating(64.0)
    ours, theirs = (evaluate(d).memory for d in (design, plain(design)))
    small = evaluate(drafting(design)).memory
    extra = ours.weight_bytes - theirs.weight_bytes
    assert float(extra) == pytest.approx(float(small.weight_bytes))
    each = ours.kv_bytes_per_sequence - theirs.kv_bytes_per_sequence
    assert float(each) == pytest.approx(float(small.kv_bytes_per_sequence))
    assert float(ours.max_batch) < 0.8 * float(theirs.max_batch)


@pytest.fixture(scope="module")
def ready() -> Prepared:
    """Work of a cycle of three guesses, four users."""
    return _prepared(speculating(4.0, guesses=3.0))


def _prepared(design: Design) -> Prepared:
    return jax.jit(prepare, compiler_options=cpu_options(level=0))(design)


def test_verifying_reads_weights_once_and_works_for_every_guess(ready: Prepared):
    ours, theirs = ready.done, _prepared(plain(speculating(4.0))).done
    weights = [float(jnp.sum(d.traffic.work.weight_bytes[0])) for d in (ours, theirs)]
    assert weights[0] == pytest.approx(weights[1])
    macs = [float(jnp.sum(d.traffic.work.macs[0])) for d in (ours, theirs)]
    assert macs[0] == pytest.approx(4.0 * macs[1])
    caches = [float(jnp.sum(d.traffic.work.cache_bytes[0])) for d in (ours, theirs)]
    assert caches[0] == pytest.approx(caches[1])


def test_a_cycle_is_its_draft_steps_and_the_verifying_one(ready: Prepared):
    design = speculating(4.0, guesses=3.0)
    volts = {
        "decode_voltage": design.deployment.decode_voltage,
        "prefill_voltage": design.deployment.prefill_voltage,
    }
    whole = step_costs(design, ready, **volts)
    verify = step_costs(design, ready.replace(drafted=None), **volts)
    small = drafting(design)
    guess = step_costs(small, ready.replace(done=ready.drafted, drafted=None), **volts)
    for name in ("duration", "energy"):
        cycle = getattr(whole.decode, name)
        parts = getattr(verify.decode, name) + 3.0 * getattr(guess.decode, name)
        assert float(cycle) == pytest.approx(float(parts))
    prompt = verify.prompt.energy + guess.prompt.energy + 2.0 * guess.decode.energy
    assert float(whole.prompt.energy) == pytest.approx(float(prompt))
    power = whole.mixed.energy / whole.mixed.duration
    assert float(whole.mixed.power) == pytest.approx(float(power))


def test_energy_still_adds_up():
    found = evaluate(speculating(16.0))
    parts = jax.tree.leaves(found.breakdown.energy)
    assert sum(map(float, parts)) == pytest.approx(float(found.energy_per_token))
    seconds = sum(map(float, jax.tree.leaves(found.breakdown.step_seconds)))
    token = float(found.time_per_output_token * found.tokens_per_step)
    assert seconds == pytest.approx(token)


def test_slopes_are_finite_and_a_better_draft_helps():
    design = speculating(8.0)

    def values(at: jax.Array) -> jax.Array:
        moved = with_values(
            design, deployment__draft_tokens=at[0], deployment__acceptance=at[1]
        )
        found: Cost = cost(moved, sharpness=256.0)
        return jnp.stack(
            [
                jnp.asarray(found.time_per_output_token),
                jnp.asarray(found.energy_per_token),
            ]
        )

    slopes = jax.jit(jax.jacfwd(values), compiler_options=cpu_options(level=0))
    for guesses, chance in ((1.0, 0.0), (16.0, 1.0), (4.0, 0.75)):
        found = slopes(jnp.array([guesses, chance]))
        assert bool(jnp.all(jnp.isfinite(found)))
    assert bool(jnp.all(found[:, 1] < 0.0))


def test_quality_knows_nothing_of_the_draft(constants: QualityConstants):
    design = speculating(1.0)
    found = quality(design.model, reference=design.model, constants=constants)
    assert float(found.gap) == 0.0


def test_acceptance_follows_from_the_gap_in_loss(constants: QualityConstants):
    target, draft = (load_model(n, training_tokens=15e12) for n in (TARGET, DRAFT))
    shallow = draft.replace(num_layers=jnp.asarray(8.0))
    narrow = target.replace(weight_bits=jnp.asarray(4.0))
    chances = [
        float(acceptance(model, guesser, constants=constants))
        for model, guesser in (
            (target, target),
            (target, draft),
            (target, shallow),
            (narrow, draft),
        )
    ]
    assert chances[0] == pytest.approx(0.9)
    assert 0.7 < chances[1] < 0.8
    assert chances[2] < chances[1] - 0.03
    assert chances[3] < chances[1], "rounding the model does not help its draft"


def test_a_measured_acceptance_is_kept_and_moves_with_the_model(
    constants: QualityConstants,
):
    base = speculating(1.0, chance=0.85)
    same = with_acceptance(base, base, constants=constants)
    assert float(same.deployment.acceptance) == pytest.approx(0.85, rel=1e-12)
    larger = with_values(base, model__hidden_size=12288.0)
    moved = with_acceptance(larger, base, constants=constants)
    assert 0.7 < float(moved.deployment.acceptance) < 0.85
