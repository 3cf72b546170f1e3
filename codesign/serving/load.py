"""What does a step contain in steady state? Sequences, context, prefill tokens.

Request and deployment -> the load of one attention replica.
"""

import jax.numpy as jnp

from codesign.core.quantities import Count, Fraction, Tokens
from codesign.core.record import Record
from codesign.core.smooth import safe_ratio
from codesign.hardware.chip import System
from codesign.serving.deployment import Deployment
from codesign.serving.request import Request
from codesign.serving.stack import Stack


class Load(Record):
    """Steady state of one replica under continuous batching.

    ``sequences`` run at once with ``context`` attended tokens on average (its
    spread ``context_variation``); ``prefills_per_step`` prompts start per step,
    each ``prompt_tokens`` long after prefix hits. A replica with less than one
    request at a time works for a share ``duty`` of the time and idles otherwise.
    """

    sequences: Count
    context: Tokens
    context_variation: Fraction
    prefills_per_step: Count
    prompt_tokens: Tokens
    hit_tokens: Tokens
    duty: Fraction


class StepTokens(Record):
    """What one step of one replica works on; arrays may carry a step axis.

    ``prompts`` is the number of prompts that the prefill tokens belong to, and
    ``prefill_context`` the mean number of tokens each of them attends to.
    """

    sequences: Count
    context: Tokens
    prefill_tokens: Tokens
    prompts: Count
    prefill_context: Tokens


def num_replicas(system: System, deployment: Deployment) -> Count:
    """Attention replicas, num_chips / (tensor_parallel x pipeline_parallel)."""
    return system.num_chips / (
        deployment.tensor_parallel * deployment.pipeline_parallel
    )


def stationary_load(
    request: Request, deployment: Deployment, *, replicas: Count
) -> Load:
    """Load in steady state.

    context = hits + prompt + E[L^2] / (2 E[L]) = P + L (1 + cv^2) / 2
    prefills per step = B / L

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
        prefills_per_step=sequences / request.output_length,
        prompt_tokens=request.prompt_length - hits,
        hit_tokens=hits,
        duty=running / sequences,
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
    """The step that prefills one waiting prompt, or one chunk of it."""
    tokens = jnp.minimum(stack.chunk_tokens, load.prompt_tokens)
    return _with_prefill(load, stack, tokens=tokens)


def num_chunks(load: Load, stack: Stack) -> Count:
    """Steps that one prompt's prefill takes (continuous above one)."""
    return jnp.maximum(1.0, load.prompt_tokens / stack.chunk_tokens)


def _with_prefill(load: Load, stack: Stack, *, tokens: Tokens) -> StepTokens:
    per_prompt = jnp.minimum(stack.chunk_tokens, load.prompt_tokens)
    return decode_step(load).replace(
        prefill_tokens=tokens,
        prompts=tokens / per_prompt,
        prefill_context=load.hit_tokens + load.prompt_tokens / 2,
    )
