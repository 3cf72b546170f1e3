import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.catalogue import list_presets
from codesign.config.stacks import load_stack
from codesign.serving.load import (
    Load,
    decode_step,
    handling_time,
    mixed_step,
    num_chunks,
    num_replicas,
    prefill_share,
    prompt_step,
    stationary_load,
)
from codesign.serving.stack import Stack
from tests.physics.designs import preset_design

STACKS = list_presets("stacks")
EACH_STACK = pytest.mark.parametrize("stack", STACKS)


def load(batch: float = 64.0, **given: float) -> Load:
    """Steady state of one replica on one chip."""
    design = preset_design("h100-sxm", "llama-3-8b", batch=batch, **given)
    return stationary_load(design.request, design.deployment, replicas=1.0)


def carried_tokens(state: Load, stack: Stack) -> float:
    """Prefill tokens of the mean step."""
    share = prefill_share(state, stack)
    return float(share * mixed_step(state, stack).prefill_tokens)


@pytest.mark.parametrize("prompt", [64.0, 1024.0, 8192.0, 65536.0])
@pytest.mark.parametrize("batch", [1.0, 32.0, 512.0])
def test_every_prompt_token_is_computed(prompt: float, batch: float):
    """In steady state B / L prompts end per step, and as many are prefilled.

    Wherever a chunk in every step suffices for that.
    """
    state = load(batch, prompt_length=prompt)
    needed = batch / 256.0 * prompt
    lost = {}
    for name in STACKS:
        stack = load_stack(name)
        if needed <= 0.9 * float(stack.chunk_tokens):
            lost[name] = 1 - carried_tokens(state, stack) / needed
    missing = {name: share for name, share in lost.items() if abs(share) > 1e-6}
    assert not missing, f"share of {needed} tokens a step that nobody computes"


@EACH_STACK
@pytest.mark.parametrize("batch", [1e-3, 1.0, 64.0, 4096.0])
def test_share_of_steps_with_prefill_is_a_share(stack: str, batch: float):
    share = float(prefill_share(load(batch), load_stack(stack)))
    assert 0.0 < share < 1.0 + 1e-12


def test_context_of_equal_requests_is_the_prompt_and_half_the_output():
    assert float(load().context) == pytest.approx(1024 + 128)


@pytest.mark.parametrize("variation", [0.5, 1.0])
def test_context_of_unequal_requests_matches_a_simulation(variation: float):
    """At a random moment a long answer is the likelier one to be running."""
    spread = np.sqrt(np.log1p(variation**2))
    lengths = np.random.default_rng(2).lognormal(
        np.log(256.0) - spread**2 / 2, spread, 200_000
    )
    seen = 1024 + (lengths**2).sum() / (2 * lengths.sum())
    state = load(output_variation=variation)
    assert float(state.context) == pytest.approx(seen, rel=0.02)


def test_spread_of_the_context_of_equal_requests():
    """Ages are uniform: their standard deviation is L over the root of 12."""
    state = load()
    deviation = 256 / np.sqrt(12) / (1024 + 128)
    assert float(state.context_variation) == pytest.approx(deviation)


def test_hits_and_computed_tokens_are_the_prompt():
    state = load(prefix_hit_fraction=0.25)
    assert float(state.hit_tokens) == pytest.approx(256)
    assert float(state.prompt_tokens) == pytest.approx(768)
    assert float(state.context) == pytest.approx(1024 + 128)


def test_replicas_share_the_batch():
    design = preset_design("h100-sxm", "llama-3-8b", num_chips=8, tensor_parallel=2.0)
    replicas = num_replicas(design.system, design.deployment)
    assert float(replicas) == 4.0
    state = stationary_load(design.request, design.deployment, replicas=replicas)
    assert float(state.sequences) == 16.0


def test_decode_step_carries_no_prefill():
    step = decode_step(load())
    assert float(step.prefill_tokens) == float(step.prompts) == 0.0
    assert float(step.sequences) == 64.0


@EACH_STACK
@pytest.mark.parametrize("prompt", [64.0, 1024.0, 65536.0])
def test_chunks_make_up_the_prompt(stack: str, prompt: float):
    state, software = load(prompt_length=prompt), load_stack(stack)
    step = prompt_step(state, software)
    chunks = num_chunks(state, software)
    assert float(chunks * step.prefill_tokens) == pytest.approx(prompt)
    assert float(step.prefill_tokens) <= float(software.chunk_tokens)
    assert float(step.prompts) == pytest.approx(1.0)


@EACH_STACK
def test_the_host_takes_prompts_that_come_together_in_turn(stack: str):
    software, n = load_stack(stack), 9.0
    state = load(prefix_hit_fraction=0.25)
    alone, all_of_them = (
        float(handling_time(each, software) - software.request_time)
        for each in (state, state.replace(together=n))
    )
    assert alone == pytest.approx(float(software.prompt_token_time) * 1024)
    assert all_of_them == pytest.approx(alone * (n + 1) / 2)


def test_prefill_attends_to_hits_and_half_its_own_prompt():
    state = load(prefix_hit_fraction=0.25)
    step = prompt_step(state, load_stack("ideal"))
    seen = np.mean(256 + np.arange(768) + 0.5)
    assert float(step.prefill_context) == pytest.approx(seen)


def test_load_is_float64():
    assert load().sequences.dtype == jnp.float64
