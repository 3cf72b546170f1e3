"""How does a recurrent layer really run? Mamba-2 as a Flax module.

Hidden states and state -> hidden states and the state after them.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from codesign.measure.attention import Cache, linear, norm
from codesign.measure.sizes import Sizes


class RecurrentMixer(nnx.Module):
    """State-space layer: projections, short convolution, gated state update.

    h <- exp(-a dt) h + dt B x,  y = C h + D x,  out = W (norm(y silu(gate)))

    Source: Dao, Gu, "Transformers are SSMs", arXiv 2405.21060, section 7.
    """

    def __init__(self, sizes: Sizes, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.inner, self.state = sizes.inner_size, sizes.state_size
        self.groups, self.heads = sizes.num_groups, sizes.num_mixer_heads
        self.taps = sizes.conv_size
        self.channels = self.inner + 2 * self.groups * self.state
        hidden, wide = sizes.hidden_size, self.inner + self.channels + self.heads
        self.project = linear(hidden, wide, dtype=dtype, rngs=rngs)
        self.output = linear(self.inner, hidden, dtype=dtype, rngs=rngs)
        if self.taps:
            draw = nnx.initializers.lecun_normal()
            shape = (self.taps, self.channels)
            self.taps_kernel = nnx.Param(draw(rngs.params(), shape, dtype))
        self.decay = nnx.Param(jnp.zeros(self.heads, dtype))
        self.step_bias = nnx.Param(jnp.zeros(self.heads, dtype))
        self.skip = nnx.Param(jnp.ones(self.heads, dtype))
        self.gate_norm = norm(self.inner, dtype=dtype, rngs=rngs)

    def empty(self, batch: int, *, length: int, dtype: jnp.dtype) -> Cache:
        """A state before the first token; its size does not depend on ``length``."""
        del length
        state = (batch, self.heads, self.inner // self.heads, self.state)
        past = (batch, max(self.taps - 1, 0), self.channels)
        return {"state": jnp.zeros(state, jnp.float32), "past": jnp.zeros(past, dtype)}

    def updated(self, state: Array, inputs: tuple[Array, ...]) -> tuple[Array, Array]:
        """State and output after one token; everything in float32."""
        x, keys, queries, step = inputs
        keep = jnp.exp(-jnp.exp(self.decay[...].astype(jnp.float32)) * step)
        added = jnp.einsum("bhp,bhs->bhps", x * step[..., None], keys)
        state = state * keep[..., None, None] + added
        return state, jnp.einsum("bhps,bhs->bhp", state, queries)

    def __call__(
        self, x: Array, cache: Cache, *, position: Array
    ) -> tuple[Array, Cache]:
        """Prefill (several tokens, one after the other) or one step of decode."""
        del position
        batch, tokens = x.shape[:2]
        cuts = [self.inner, self.inner + self.channels]
        gate, mixed, step = jnp.split(self.project(x), cuts, axis=-1)
        past = jnp.concatenate([cache["past"], mixed], axis=1)
        mixed = jax.nn.silu(self._convolved(past, tokens))
        width = self.groups * self.state
        value, key, query = jnp.split(mixed, [self.inner, self.inner + width], -1)
        step = jax.nn.softplus((step + self.step_bias[...]).astype(jnp.float32))
        value = value.reshape(batch, tokens, self.heads, -1).astype(jnp.float32)
        tokens_first = [
            jnp.moveaxis(part, 1, 0)
            for part in (value, self._spread(key), self._spread(query), step)
        ]
        state, out = jax.lax.scan(self.updated, cache["state"], tuple(tokens_first))
        skip = self.skip[...].astype(jnp.float32)[:, None]
        out = (jnp.moveaxis(out, 0, 1) + value * skip).astype(x.dtype)
        out = self.gate_norm(out.reshape(batch, tokens, -1) * jax.nn.silu(gate))
        kept = past[:, past.shape[1] - cache["past"].shape[1] :]
        return self.output(out), {"state": state, "past": kept}

    def _convolved(self, past: Array, tokens: int) -> Array:
        if not self.taps:
            return past
        kernel = self.taps_kernel[...]
        parts = [past[:, tap : tap + tokens] * kernel[tap] for tap in range(self.taps)]
        return sum(parts[1:], parts[0])

    def _spread(self, grouped: Array) -> Array:
        """Keys or queries of the groups, repeated for the heads of each."""
        shape = (*grouped.shape[:2], self.groups, self.state)
        repeated = jnp.repeat(grouped.reshape(shape), self.heads // self.groups, axis=2)
        return repeated.astype(jnp.float32)
