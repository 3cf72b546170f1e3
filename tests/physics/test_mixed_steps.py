"""Steps with prompts: how many, which of them is the median, what a hybrid pays."""

from functools import cache

import jax
import numpy as np
import pytest

from codesign.core.compiler import cpu_options
from codesign.cost.passes import training_cost
from codesign.cost.step import StepCost
from codesign.cost.total import Prepared, StepCosts, median_step, prepare
from codesign.operators.feedforward import NORMS
from codesign.operators.phases import KINDS, operator_table
from codesign.operators.recurrent import RECURRENT_STATE, STATE_FLOPS
from codesign.serving.design import Design
from codesign.serving.load import decode_step, design_load, mixed_step
from codesign.serving.training import Training
from tests.physics.designs import preset_design

STATE = KINDS.index(RECURRENT_STATE)
PADDING = 28_000.0


def design(
    model: str = "nemotron-nano-9b-v2", *, padding: float = PADDING, stages: int = 1
) -> Design:
    built = preset_design(
        "h100-sxm",
        model,
        num_chips=stages,
        pipeline_parallel=stages,
        prompt_length=280.0,
        output_length=500.0,
    )
    return built.replace(stack=built.stack.replace(scan_padding=padding))


def scanned(given: Design, *, prompts: bool) -> float:
    """Vector FLOP of the recurrent states in one step."""
    load = design_load(given)
    step = mixed_step(load, given.stack) if prompts else decode_step(load)
    table = operator_table(given, step).table
    return float(table.count[STATE] * table.vector_flops[STATE])


@cache
def prepared() -> Prepared:
    return jax.jit(prepare, compiler_options=cpu_options(level=0))(design())


def kinds(*, decode: float, mixed: float) -> StepCosts:
    plain, heavy = (
        StepCost(duration=t, energy=0.0, power=0.0, seconds=None, joules=None)
        for t in (decode, mixed)
    )
    return StepCosts(decode=plain, mixed=heavy, prompt=heavy)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.45, 0.55, 0.7, 0.9, 1.0])
def test_median_step_is_that_of_many(share: float):
    """Prompts that add an exponential time to a share of the steps."""
    rng = np.random.default_rng(0)
    added = np.where(rng.random(10**6) < share, rng.exponential(30.0, 10**6), 0.0)
    found = float(median_step(kinds(decode=10.0, mixed=40.0), share))
    corner = 30.0 * np.log(2) / 8  # what rounding takes at a share of one half
    assert found == pytest.approx(10.0 + np.median(added), abs=0.8 * corner)
    far = abs(share - 0.5) > 0.15
    assert not far or found == pytest.approx(10.0 + np.median(added), abs=0.3)


def test_a_step_with_prompts_scans_more_than_its_tokens():
    given = design()
    state = given.model.recurrent
    each = state.num_layers * STATE_FLOPS * state.inner_size * state.state_size
    more = scanned(given, prompts=True) - scanned(design(padding=0.0), prompts=True)
    assert more == pytest.approx(PADDING * float(each), rel=1e-9)
    alone = scanned(design(padding=0.0), prompts=False)
    assert scanned(given, prompts=False) == pytest.approx(alone, rel=1e-12)


def test_stages_share_the_scan_of_a_step():
    """Micro-batches pass one after the other, and none of them scans it all again."""
    whole, cut = (
        scanned(design(stages=n), prompts=True)
        * n
        * float(min(n, design_load(design(stages=n)).sequences))
        for n in (1, 4)
    )
    assert cut == pytest.approx(whole, rel=1e-9)


def test_a_model_without_recurrent_layers_pays_nothing():
    assert scanned(design("llama-3-8b"), prompts=True) == pytest.approx(0.0)


def test_the_scan_of_training_is_not_padded():
    plan = Training(sequences=1.0, length=4096.0)
    trained = jax.jit(training_cost, compiler_options=cpu_options(level=0))
    short, long = (
        float(trained(design(padding=p), plan).duration) for p in (0.0, PADDING)
    )
    assert long == pytest.approx(short, rel=1e-12)


def test_states_cost_the_joules_of_32_bit():
    done = prepared()
    joules = np.asarray(done.done.energies.vector)[1]
    flops = np.asarray(done.done.traffic.work.vector_flops)[1]
    wide, narrow = (joules[i] / flops[i] for i in (STATE, KINDS.index(NORMS)))
    built = done.built
    delivered = float(built.delivery_energy)
    expected = (float(built.mac_energy_32bit) + 32 * delivered) / (
        float(built.mac_energy_16bit) + 16 * delivered
    )
    assert wide / narrow == pytest.approx(expected)
    assert wide > 2 * narrow
