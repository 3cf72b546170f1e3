"""How does attention really run? Grouped-query and latent, as Flax modules.

Hidden states, cache and position -> hidden states and the cache with them.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from codesign.measure.sizes import Sizes

ROTARY_BASE = 1e4  # of the rotation's wavelengths, as in most published models
HIDDEN_SCORE = -1e30  # finite, so that a row without keys stays finite

Cache = dict[str, Array]


def linear(inner: int, outer: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.Linear:
    """A projection without bias in one format."""
    return nnx.Linear(
        inner, outer, use_bias=False, dtype=dtype, param_dtype=dtype, rngs=rngs
    )


def norm(size: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.RMSNorm:
    """A norm with one weight per channel."""
    return nnx.RMSNorm(size, dtype=dtype, param_dtype=dtype, rngs=rngs)


def rotate(x: Array, positions: Array) -> Array:
    """Rotary embedding of (batch, tokens, heads, size) at integer positions."""
    half = x.shape[-1] // 2
    rates = ROTARY_BASE ** (-jnp.arange(half, dtype=jnp.float32) / max(half, 1))
    angles = positions[:, None].astype(jnp.float32) * rates
    sine, cosine = jnp.sin(angles)[:, None, :], jnp.cos(angles)[:, None, :]
    first, second = x[..., :half], x[..., half : 2 * half]
    turned = (first * cosine - second * sine, second * cosine + first * sine)
    return jnp.concatenate([*turned, x[..., 2 * half :]], -1).astype(x.dtype)


def causal_mask(tokens: int, *, window: int) -> Array:
    """True where a token (row) sees an earlier one (column), itself included."""
    distance = jnp.arange(tokens)[:, None] - jnp.arange(tokens)[None, :]
    near = distance < window if window else jnp.ones_like(distance, bool)
    return (distance >= 0) & near


def softmax(scores: Array, mask: Array, *, dtype: jnp.dtype) -> Array:
    """Weights of the keys that a mask leaves, computed in float32."""
    hidden = jnp.where(mask, scores.astype(jnp.float32), HIDDEN_SCORE)
    return jax.nn.softmax(hidden, axis=-1).astype(dtype)


def stored(cache: Array, new: Array, *, position: Array) -> Array:
    """A cache (batch, slots, ...) with one new token in the slot of its position."""
    slot = position % cache.shape[1]
    zero = jnp.zeros_like(slot)
    start = (zero, slot, *(zero for _ in cache.shape[2:]))
    return jax.lax.dynamic_update_slice(cache, new, start)


def filled(new: Array, slots: int) -> Array:
    """A cache of ``slots`` with the last of the tokens of a prompt in their slots."""
    tokens = new.shape[1]
    if tokens > slots:
        return jnp.roll(new[:, tokens - slots :], tokens % slots, axis=1)
    room = [(0, 0), (0, slots - tokens), *((0, 0) for _ in new.shape[2:])]
    return jnp.pad(new, room)


class GroupedAttention(nnx.Module):
    """Grouped-query attention with rotary positions, window and output gate."""

    def __init__(
        self, sizes: Sizes, *, window: int, dtype: jnp.dtype, rngs: nnx.Rngs
    ) -> None:
        self.heads, self.kv_heads = sizes.num_heads, sizes.num_kv_heads
        self.size, self.window = sizes.head_size, window
        self.gated = bool(sizes.gated_attention)
        self.width = self.heads * self.size
        self.kv_width = self.kv_heads * self.size
        out = self.width * (2 if self.gated else 1) + 2 * self.kv_width
        self.qkv = linear(sizes.hidden_size, out, dtype=dtype, rngs=rngs)
        self.output = linear(self.width, sizes.hidden_size, dtype=dtype, rngs=rngs)

    def slots(self, length: int) -> int:
        """Tokens that the cache holds of a sequence of at most ``length``."""
        return min(self.window, length) if self.window else length

    def empty(self, batch: int, *, length: int, dtype: jnp.dtype) -> Cache:
        """A cache without tokens."""
        shape = (batch, self.slots(length), self.kv_heads, self.size)
        return {"key": jnp.zeros(shape, dtype), "value": jnp.zeros(shape, dtype)}

    def scores(self, query: Array, key: Array) -> Array:
        """Q K^T of every query head with the keys of its group."""
        batch, tokens = query.shape[:2]
        grouped = query.reshape(batch, tokens, self.kv_heads, -1, self.size)
        return jnp.einsum("bqhgd,bkhd->bhgqk", grouped, key)

    def mixed(self, weights: Array, value: Array) -> Array:
        """P V, back in the layout of the hidden state."""
        out = jnp.einsum("bhgqk,bkhd->bqhgd", weights, value)
        return out.reshape(*out.shape[:2], self.width)

    def __call__(
        self, x: Array, cache: Cache, *, position: Array
    ) -> tuple[Array, Cache]:
        """Prefill from position 0 (several tokens) or one step of decode."""
        batch, tokens = x.shape[:2]
        parts = jnp.split(self.qkv(x), self._cuts(), axis=-1)
        heads = (batch, tokens, -1, self.size)
        positions = position + jnp.arange(tokens)
        query = rotate(parts[0].reshape(heads), positions)
        key = rotate(parts[1].reshape(heads), positions)
        value = parts[2].reshape(heads)
        slots = cache["key"].shape[1]
        if tokens == 1:
            cache = {
                "key": stored(cache["key"], key, position=position),
                "value": stored(cache["value"], value, position=position),
            }
            key, value = cache["key"], cache["value"]
            mask = jnp.arange(slots) <= position
        else:
            cache = {"key": filled(key, slots), "value": filled(value, slots)}
            mask = causal_mask(tokens, window=self.window)
        scores = self.scores(query, key) * self.size**-0.5
        out = self.mixed(softmax(scores, mask, dtype=x.dtype), value)
        if self.gated:
            out = out * jax.nn.sigmoid(parts[3])
        return self.output(out), cache

    def _cuts(self) -> list[int]:
        ends = [self.width, self.width + self.kv_width, self.width + 2 * self.kv_width]
        return ends if self.gated else ends[:2]


class LatentAttention(nnx.Module):
    """Multi-head latent attention: absorbed in decode, expanded in prefill.

    Source: DeepSeek-V2, arXiv 2405.04434, section 2.1 and appendix C.
    """

    def __init__(self, sizes: Sizes, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.heads, self.rank = sizes.num_heads, sizes.kv_rank
        self.rope, self.nope, self.width = (
            sizes.rope_size,
            sizes.nope_size,
            sizes.value_size,
        )
        hidden, query_rank = sizes.hidden_size, sizes.query_rank
        query = self.heads * (self.nope + self.rope)
        self.compressed = bool(query_rank)
        if self.compressed:
            self.query_down = linear(hidden, query_rank, dtype=dtype, rngs=rngs)
            self.query_norm = norm(query_rank, dtype=dtype, rngs=rngs)
        self.query_up = linear(query_rank or hidden, query, dtype=dtype, rngs=rngs)
        self.down = linear(hidden, self.rank + self.rope, dtype=dtype, rngs=rngs)
        self.down_norm = norm(self.rank, dtype=dtype, rngs=rngs)
        self.key_up = linear(self.rank, self.heads * self.nope, dtype=dtype, rngs=rngs)
        self.value_up = linear(
            self.rank, self.heads * self.width, dtype=dtype, rngs=rngs
        )
        self.output = linear(self.heads * self.width, hidden, dtype=dtype, rngs=rngs)

    def empty(self, batch: int, *, length: int, dtype: jnp.dtype) -> Cache:
        """A cache without tokens."""
        return {
            "latent": jnp.zeros((batch, length, self.rank), dtype),
            "rope": jnp.zeros((batch, length, self.rope), dtype),
        }

    def absorbed(self, query: Array) -> Array:
        """Queries in the latent space, q W_uk^T."""
        kernel = self.key_up.kernel[...].reshape(self.rank, self.heads, self.nope)
        return jnp.einsum("bqhn,rhn->bqhr", query, kernel)

    def released(self, latent: Array) -> Array:
        """Values of every head from mixed latents, W_uv c."""
        kernel = self.value_up.kernel[...].reshape(self.rank, self.heads, self.width)
        return jnp.einsum("bqhr,rhv->bqhv", latent, kernel)

    def latent_scores(
        self, query: Array, rotary: Array, *, cache: Cache
    ) -> tuple[Array, Array]:
        """Scores against the cached latents and against their rotary part."""
        near = jnp.einsum("bqhr,bkr->bhqk", query, cache["latent"])
        return near, jnp.einsum("bqhd,bkd->bhqk", rotary, cache["rope"])

    def latent_mixed(self, weights: Array, cache: Cache) -> Array:
        """Mixed latents, P c."""
        return jnp.einsum("bhqk,bkr->bqhr", weights, cache["latent"])

    def scores(self, query: Array, key: Array) -> Array:
        """Q K^T with expanded keys."""
        return jnp.einsum("bqhd,bkhd->bhqk", query, key)

    def mixed(self, weights: Array, value: Array) -> Array:
        """P V with expanded values."""
        return jnp.einsum("bhqk,bkhv->bqhv", weights, value)

    def __call__(
        self, x: Array, cache: Cache, *, position: Array
    ) -> tuple[Array, Cache]:
        """Prefill from position 0 (several tokens) or one step of decode."""
        batch, tokens = x.shape[:2]
        positions = position + jnp.arange(tokens)
        narrow = self.query_norm(self.query_down(x)) if self.compressed else x
        query = self.query_up(narrow).reshape(batch, tokens, self.heads, -1)
        plain, rotary = jnp.split(query, [self.nope], axis=-1)
        rotary = rotate(rotary, positions)
        latent, rope = jnp.split(self.down(x), [self.rank], axis=-1)
        latent = self.down_norm(latent)
        rope = rotate(rope[:, :, None], positions)[:, :, 0]
        scale = (self.nope + self.rope) ** -0.5
        if tokens == 1:
            cache = {
                "latent": stored(cache["latent"], latent, position=position),
                "rope": stored(cache["rope"], rope, position=position),
            }
            parts = self.latent_scores(self.absorbed(plain), rotary, cache=cache)
            scores = (parts[0] + parts[1]) * scale
            mask = jnp.arange(scores.shape[-1]) <= position
            weights = softmax(scores, mask, dtype=x.dtype)
            out = self.released(self.latent_mixed(weights, cache))
        else:
            slots = cache["latent"].shape[1]
            cache = {"latent": filled(latent, slots), "rope": filled(rope, slots)}
            shared = jnp.broadcast_to(rope[:, :, None], rotary.shape)
            expanded = self.key_up(latent).reshape(batch, tokens, self.heads, -1)
            key = jnp.concatenate([expanded, shared], -1)
            value = self.value_up(latent).reshape(batch, tokens, self.heads, -1)
            whole = jnp.concatenate([plain, rotary], -1)
            mask = causal_mask(tokens, window=0)
            weights = softmax(self.scores(whole, key) * scale, mask, dtype=x.dtype)
            out = self.mixed(weights, value)
        return self.output(out.reshape(batch, tokens, -1)), cache
