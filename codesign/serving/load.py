"""What does a step contain in steady state? Sequences, context, prefill tokens.

Request and deployment -> the load of one attention replica.
"""

import jax.numpy as jnp

from codesign.core.quantities import Count, Fraction, Seconds, Tokens
from codesign.core.record import Record
from codesign.core.smooth import safe_ratio
from codesign.hardware.chip import System
from codesign.serving.deployment import Deployment
from codesign.serving.design import Design
from codesign.serving.request import Request
from codesign.serving.stack import Stack

LEAST_CHANCE = 1e-9  # of a guess to be right or wrong; keeps slopes finite


class Load(Record):
    """Steady state of one replica under continuous batching.

    ``sequences`` run at once with ``context`` attended tokens on average (its
    spread ``context_variation``); ``prefills_per_step`` prompts start per step,
    each ``prompt_tokens`` long after prefix hits. A replica with less than one
    request at a time works for a share ``duty`` of the time and idles otherwise.
    A sequence gains ``advance`` tokens per step, 1 unless a draft model guesses.
    ``together`` prompts come at the same moment, 1 in steady state.
    """

    sequences: Count
    context: Tokens
    context_variation: Fraction
    prefills_per_step: Count
    prompt_tokens: Tokens
    hit_tokens: Tokens
    duty: Fraction
    advance: Tokens = 1.0
    together: Count = 1.0


class StepTokens(Record):
    """What one step of one replica works on; arrays may carry a step axis.

    ``queries`` are the tokens of each running sequence: 1, or the guesses that it
    verifies and one more. ``prompts`` is the number of prompts that the prefill
    tokens belong to, and ``prefill_context`` the mean number of tokens each of
    them attends to.
    """

    sequences: Count
    context: Tokens
    prefill_tokens: Tokens
    prompts: Count
    prefill_context: Tokens
    queries: Tokens = 1.0


def num_replicas(system: System, deployment: Deployment) -> Count:
    """Attention replicas, num_chips / (tensor_parallel x pipeline_parallel)."""
    return system.num_chips / (
        deployment.tensor_parallel * deployment.pipeline_parallel
    )


def expected_tokens(deployment: Deployment) -> Tokens:
    """Tokens that a sequence gains in a step that verifies g guesses.

    E = 1 + a + ... + a^g = (1 - a^(g + 1)) / (1 - a): guesses up to the first
    wrong one, whose place the target's own token takes.

    Assumes: guesses are right independently with the same probability a.
    Source: Leviathan et al., ICML 2023, arXiv 2211.17192, equation 1.

    Example:
        >>> from types import SimpleNamespace
        >>> four = SimpleNamespace(draft_tokens=4.0, acceptance=0.8)
        >>> round(float(expected_tokens(four)), 2)
        3.36
    """
    chance = jnp.clip(deployment.acceptance, LEAST_CHANCE, 1.0 - LEAST_CHANCE)
    run = deployment.draft_tokens + 1.0
    return -jnp.expm1(run * jnp.log(chance)) / (1.0 - chance)


def design_load(design: Design) -> Load:
    """Load of a design in steady state."""
    return stationary_load(
        design.request,
        design.deployment,
        replicas=num_replicas(design.system, design.deployment),
        advance=1.0 if design.draft is None else expected_tokens(design.deployment),
    )


def stationary_load(
    request: Request,
    deployment: Deployment,
    *,
    replicas: Count,
    advance: Tokens = 1.0,
) -> Load:
    """Load in steady state.

    context = hits + prompt + E[L^2] / (2 E[L]) = P + L (1 + cv^2) / 2
    prefills per step = B advance / L

    Assumes: arrivals and departures balance; ages are uniform over a
    size-biased output length, whose spread is its mean over sqrt(3).
    Source: renewal theory (inspection paradox); docs/theory/load.md.
    """
    age = request.output_length * (1 + request.output_variation**2) / 2
    context = request.prompt_length + age
    running = deployment.batch / replicas
    sequences = jnp.maximum(running, 1.0)
    hits = request.prompt_length * request.prefix_hit_fraction
    return Load(
        sequences=sequences,
        context=context,
        context_variation=age / jnp.sqrt(3.0) / context,
        prefills_per_step=sequences * advance / request.output_length,
        prompt_tokens=request.prompt_length - hits,
        hit_tokens=hits,
        duty=running / sequences,
        advance=jnp.asarray(advance, jnp.float64),
    )


def prefill_share(load: Load, stack: Stack) -> Fraction:
    """Share of steps that carry prefill tokens.

    q = max(1 - exp(-x / c), min(1, P x / chunk)): prompts start in clumps of mean
    size c, and there are enough such steps for chunks of the largest size.

    Source: fits on ML.ENERGY runs, docs/theory/load.md.
    """
    clumped = -jnp.expm1(-load.prefills_per_step / stack.prefill_clumping)
    needed = load.prompt_tokens * load.prefills_per_step / stack.chunk_tokens
    return jnp.maximum(clumped, jnp.minimum(needed, 1.0))


def decode_step(load: Load) -> StepTokens:
    """A step without prefill tokens."""
    zero = 0.0 * load.sequences
    return StepTokens(
        sequences=load.sequences,
        queries=jnp.ones_like(zero),
        context=load.context,
        prefill_tokens=zero,
        prompts=zero,
        prefill_context=zero,
    )


def mixed_step(load: Load, stack: Stack) -> StepTokens:
    """A step that carries prefill: p = P x / q tokens, so that none is left."""
    tokens = load.prompt_tokens * safe_ratio(
        load.prefills_per_step, prefill_share(load, stack), empty=1.0
    )
    return _with_prefill(load, stack, tokens=tokens)


def prompt_step(load: Load, stack: Stack) -> StepTokens:
    """The step that prefills one waiting prompt, or one chunk of what waits."""
    waiting = load.together * load.prompt_tokens
    return _with_prefill(load, stack, tokens=jnp.minimum(stack.chunk_tokens, waiting))


def num_chunks(load: Load, stack: Stack) -> Count:
    """Steps until a new prompt is prefilled (continuous above one).

    max(1, (n p + max(1, p)) / 2) with p = P / chunk: mean over the n prompts that
    come together, taken in turn, as many of them in a step as fill a chunk.
    """
    own = load.prompt_tokens / stack.chunk_tokens
    return jnp.maximum(1.0, (load.together * own + jnp.maximum(1.0, own)) / 2.0)


def handling_time(load: Load, stack: Stack) -> Seconds:
    """Time outside of steps until a first token is seen, the host's.

    t_request + (n + 1) / 2 t_token (P + hits): one host takes the n prompts that come
    together in turn.

    Source: InferenceX runs of vLLM, docs/theory/cost.md.
    """
    tokens = (load.together + 1.0) / 2.0 * (load.prompt_tokens + load.hit_tokens)
    return stack.request_time + stack.prompt_token_time * tokens


def _with_prefill(load: Load, stack: Stack, *, tokens: Tokens) -> StepTokens:
    per_prompt = jnp.minimum(stack.chunk_tokens, load.prompt_tokens)
    return decode_step(load).replace(
        prefill_tokens=tokens,
        prompts=tokens / per_prompt,
        prefill_context=load.hit_tokens + load.prompt_tokens / 2,
    )
