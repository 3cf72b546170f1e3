"""How does a whole transformer really run? A Flax NNX model of any ``Transformer``.

Transformer -> module with random weights; tokens and caches -> logits.

Every layer is a module of its own: compilers count the body of a loop once, and
served models are unrolled too.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from codesign.measure.attention import (
    Cache,
    GroupedAttention,
    LatentAttention,
    linear,
    norm,
)
from codesign.measure.feedforward import Experts, FeedForward
from codesign.measure.recurrent import RecurrentMixer
from codesign.measure.sizes import LayerPlan, Sizes, layer_plans

Mixer = GroupedAttention | LatentAttention | RecurrentMixer
Caches = list[Cache]


class Layer(nnx.Module):
    """One mixer and the FFN that may follow it, each behind a norm."""

    def __init__(
        self, sizes: Sizes, plan: LayerPlan, *, dtype: jnp.dtype, rngs: nnx.Rngs
    ) -> None:
        self.norm = norm(sizes.hidden_size, dtype=dtype, rngs=rngs)
        self.mixer = _mixer(sizes, plan, dtype=dtype, rngs=rngs)
        self.feedforward = _feedforward(sizes, plan, dtype=dtype, rngs=rngs)
        if self.feedforward is not None:
            self.feedforward_norm = norm(sizes.hidden_size, dtype=dtype, rngs=rngs)

    def __call__(
        self, x: Array, cache: Cache, *, position: Array
    ) -> tuple[Array, Cache]:
        """The layer of every token, and its cache with them."""
        mixed, cache = self.mixer(self.norm(x), cache, position=position)
        x = x + mixed
        if self.feedforward is None:
            return x, cache
        return x + self.feedforward(self.feedforward_norm(x)), cache


class ReferenceTransformer(nnx.Module):
    """A decoder-only transformer with random weights and the sizes of a model."""

    def __init__(
        self, sizes: Sizes, *, dtype: jnp.dtype, rngs: nnx.Rngs | None = None
    ) -> None:
        draws = nnx.Rngs(0) if rngs is None else rngs
        self.dtype = dtype
        self.embedding = nnx.Embed(
            sizes.vocab_size,
            sizes.hidden_size,
            dtype=dtype,
            param_dtype=dtype,
            rngs=draws,
        )
        self.layers = nnx.List(
            [Layer(sizes, plan, dtype=dtype, rngs=draws) for plan in layer_plans(sizes)]
        )
        self.norm = norm(sizes.hidden_size, dtype=dtype, rngs=draws)
        self.head = (
            None
            if sizes.tied_embeddings
            else linear(sizes.hidden_size, sizes.vocab_size, dtype=dtype, rngs=draws)
        )

    def empty(self, batch: int, *, length: int) -> Caches:
        """Caches for sequences of at most ``length`` tokens."""
        return [
            layer.mixer.empty(batch, length=length, dtype=self.dtype)
            for layer in self.layers
        ]

    def logits(self, hidden: Array) -> Array:
        """Logits of one hidden state per sequence."""
        return self.embedding.attend(hidden) if self.head is None else self.head(hidden)

    def __call__(
        self, tokens: Array, caches: Caches, *, position: Array
    ) -> tuple[Array, Caches]:
        """Logits after the last token of each sequence, and the new caches.

        Several tokens are a prompt and start at position 0; one token is a step
        of decode at the given position.
        """
        x = self.embedding(tokens)
        filled: Caches = []
        for layer, cache in zip(self.layers, caches, strict=True):
            x, new = layer(x, cache, position=position)
            filled.append(new)
        return self.logits(self.norm(x[:, -1])), filled


def num_parameters(model: nnx.Module) -> int:
    """Number of weights of a module, real or abstract."""
    state: Any = nnx.state(model, nnx.Param)
    return sum(leaf.size for leaf in nnx.to_flat_state(state).leaves)


def _mixer(sizes: Sizes, plan: LayerPlan, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> Mixer:
    if plan.mixer == "recurrent":
        return RecurrentMixer(sizes, dtype=dtype, rngs=rngs)
    if plan.mixer == "latent":
        return LatentAttention(sizes, dtype=dtype, rngs=rngs)
    return GroupedAttention(sizes, window=plan.window, dtype=dtype, rngs=rngs)


def _feedforward(
    sizes: Sizes, plan: LayerPlan, *, dtype: jnp.dtype, rngs: nnx.Rngs
) -> FeedForward | Experts | None:
    if plan.feedforward == "none":
        return None
    if plan.feedforward == "experts":
        return Experts(sizes, dtype=dtype, rngs=rngs)
    return FeedForward(sizes, width=sizes.ffn_size, dtype=dtype, rngs=rngs)
