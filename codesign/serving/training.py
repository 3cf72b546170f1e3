"""What is one step of training, and one pass of a diffusion model?

Batch, lengths and formats -> the tokens that one replica works on at once.
"""

import jax.numpy as jnp

from codesign.core.quantities import Bits, Bytes, Count, Fraction, Tokens
from codesign.core.record import Record
from codesign.serving.load import StepTokens


class Training(Record):
    """One optimiser step of data-parallel training.

    Each replica takes ``sequences`` of ``length`` tokens. Gradients travel with
    ``gradient_bits``; the optimiser moves ``optimizer_bytes`` per weight (Adam with
    fp32 master weights: 12 read, 12 written, 2 of gradient, 2 of new weight), split
    over the replicas. A share ``overlap`` of the gradient exchange hides behind the
    backward pass. ``stored_bytes`` per element of the hidden state, token and layer are
    kept for the backward pass; 0 recomputes them, at one more forward pass.

    Source: Rajbhandari et al., ZeRO, arXiv 1910.02054; Korthikanti et al., arXiv
    2205.05198, eq. 2, for 34 bytes with fused attention.
    """

    sequences: Count
    length: Tokens
    gradient_bits: Bits = 16.0
    optimizer_bytes: Bytes = 28.0
    overlap: Fraction = 0.8
    stored_bytes: Bytes = 34.0


def prompt_pass(tokens: Tokens, *, prompts: Count) -> StepTokens:
    """A causal pass over whole sequences: each token sees half of them on average."""
    return _whole(tokens, prompts=prompts, context=tokens / 2)


def denoising_pass(tokens: Tokens, *, samples: Count) -> StepTokens:
    """A pass of a diffusion transformer over all tokens of some samples.

    Every token attends to all tokens of its sample; there is no cache from one pass to
    the next and nothing is sampled.

    Source: Peebles and Xie, DiT, arXiv 2212.09748.
    """
    return _whole(tokens, prompts=samples, context=tokens)


def _whole(tokens: Tokens, *, prompts: Count, context: Tokens) -> StepTokens:
    total = jnp.asarray(tokens * prompts, jnp.float64)
    zero = 0.0 * total
    return StepTokens(
        sequences=zero,
        queries=zero + 1.0,
        context=zero,
        prefill_tokens=total,
        prompts=zero + prompts,
        prefill_context=zero + context,
    )
