"""How do dense and expert layers really run? Flax modules.

Hidden states -> hidden states.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from codesign.measure.attention import linear
from codesign.measure.sizes import Sizes

GATED = 3  # matrices of an FFN with a gate


def activated(wide: Array, *, matrices: int) -> Array:
    """silu(gate) * up of a gated FFN, relu^2 of a plain one."""
    if matrices == GATED:
        gate, up = jnp.split(wide, 2, axis=-1)
        return jax.nn.silu(gate) * up
    return jnp.square(jax.nn.relu(wide))


class FeedForward(nnx.Module):
    """A dense FFN: (matrices - 1) inputs side by side, and one output."""

    def __init__(
        self, sizes: Sizes, *, width: int, dtype: jnp.dtype, rngs: nnx.Rngs
    ) -> None:
        self.matrices, hidden = sizes.num_ffn_matrices, sizes.hidden_size
        wide = (self.matrices - 1) * width
        self.inputs = linear(hidden, wide, dtype=dtype, rngs=rngs)
        self.output = linear(width, hidden, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """The FFN of every token."""
        return self.output(activated(self.inputs(x), matrices=self.matrices))


class Experts(nnx.Module):
    """Routed experts beside a shared FFN.

    Few tokens gather the weights of their own experts; many are sorted into
    equal places per expert, ceil(T k / E) of them, and what finds no place in its
    expert is left to the residual path.

    Source: places as in Lepikhin et al., "GShard", arXiv 2006.16668.
    """

    def __init__(self, sizes: Sizes, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.num, self.active = sizes.num_experts, sizes.num_active_experts
        self.matrices, hidden = sizes.num_ffn_matrices, sizes.hidden_size
        width = sizes.expert_size
        draw = nnx.initializers.lecun_normal(batch_axis=(0,))
        wide = (self.num, hidden, (self.matrices - 1) * width)
        self.router = linear(hidden, self.num, dtype=dtype, rngs=rngs)
        self.inputs = nnx.Param(draw(rngs.params(), wide, dtype))
        self.outputs = nnx.Param(draw(rngs.params(), (self.num, width, hidden), dtype))
        self.shared = (
            FeedForward(sizes, width=sizes.shared_size, dtype=dtype, rngs=rngs)
            if sizes.shared_size
            else None
        )

    def gathers(self, tokens: int) -> bool:
        """Whether so few tokens read the weights of their own experts only."""
        return tokens * self.active <= self.num

    def places(self, tokens: int) -> int:
        """Places of each expert for that many tokens."""
        return math.ceil(tokens * self.active / self.num)

    def widened(self, x: Array, kernel: Array) -> Array:
        """Products of (copies, places, inner) with a matrix per copy."""
        return jnp.einsum("etd,edf->etf", x, kernel)

    def __call__(self, x: Array) -> Array:
        """The weighted experts of every token, and the shared FFN."""
        flat = x.reshape(-1, x.shape[-1])
        scores, chosen = jax.lax.top_k(self.router(flat), self.active)
        weights = jax.nn.softmax(scores.astype(jnp.float32), -1).astype(x.dtype)
        route = self._gathered if self.gathers(len(flat)) else self._placed
        pairs = route(flat, chosen).reshape(len(flat), self.active, -1)
        out = jnp.einsum("tkd,tk->td", pairs, weights).reshape(x.shape)
        return out if self.shared is None else out + self.shared(x)

    def _run(self, x: Array, *, inputs: Array, outputs: Array) -> Array:
        wide = self.widened(x, inputs)
        return self.widened(activated(wide, matrices=self.matrices), outputs)

    def _gathered(self, flat: Array, chosen: Array) -> Array:
        which = chosen.reshape(-1)
        pairs = jnp.repeat(flat, self.active, axis=0)[:, None]
        inputs, outputs = self.inputs[...][which], self.outputs[...][which]
        return self._run(pairs, inputs=inputs, outputs=outputs)[:, 0]

    def _placed(self, flat: Array, chosen: Array) -> Array:
        which = chosen.reshape(-1)
        places = self.places(len(flat))
        order = jnp.argsort(which, stable=True)
        first = jnp.searchsorted(which[order], jnp.arange(self.num))
        rank = jnp.arange(len(which)) - first[which[order]]
        held = rank < places
        slot = jnp.where(held, which[order] * places + rank, self.num * places)
        token = order // self.active
        room = jnp.zeros((self.num * places + 1, flat.shape[-1]), flat.dtype)
        room = room.at[slot].set(flat[token])[:-1]
        done = self._run(
            room.reshape(self.num, places, -1),
            inputs=self.inputs[...],
            outputs=self.outputs[...],
        ).reshape(self.num * places, -1)
        done = jnp.concatenate([done, jnp.zeros_like(done[:1])])
        return (
            jnp.zeros_like(done, shape=(len(which), done.shape[-1]))
            .at[order]
            .set(done[slot])
        )
