"""How much work is every operator, by XLA's own count and by our table?

Sizes and a step -> FLOP and bytes by operator name, from XLA's cost analysis of
the Flax model and from the operator table of the cost model.

Nothing is run or stored: the modules are abstract, so that any size can be
counted. Differences between both counts: docs/theory/reference_model.md.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codesign.core.quantities import Bytes, Count, Flop, Tokens
from codesign.measure.attention import GroupedAttention, LatentAttention
from codesign.measure.feedforward import Experts, FeedForward
from codesign.measure.recurrent import RecurrentMixer
from codesign.measure.reference import Layer, ReferenceTransformer
from codesign.measure.sizes import LayerPlan, Sizes, layer_plans
from codesign.model.transformer import Transformer
from codesign.operators.attention import attention_rows
from codesign.operators.experts import expert_rows
from codesign.operators.feedforward import feedforward_rows, token_rows
from codesign.operators.recurrent import recurrent_rows
from codesign.operators.shard import Shard
from codesign.operators.table import Tiles, stack_rows, work

NO_TILES = Tiles(rows=1.0, cols=1.0, inner=1.0, capacity=1e30, activation_share=1.0)
Function = Callable[..., Any]
Operator = tuple[str, Function, tuple[Any, ...]]


@dataclass(frozen=True)
class Counted:
    """FLOP of matrix products and other operations, and bytes moved."""

    flops: Flop
    other_flops: Flop
    traffic: Bytes


@dataclass(frozen=True)
class Shape:
    """A step of equal sequences: ``tokens`` of each, of which ``span`` are attended.

    One token is decode against a cache of ``span``; several are a prompt, whose
    span is its length, since a dense mask computes every pair.
    """

    batch: int
    tokens: int
    span: int

    @property
    def decodes(self) -> bool:
        """Whether this is a step of decode."""
        return self.tokens == 1


def xla_cost(function: Function, module: nnx.Module, *arguments: Any) -> Counted:
    """XLA's cost analysis of a function of a module, before any fusion."""
    graph, state = nnx.split(module)

    def run(state: Any, *arguments: Any) -> Any:
        return function(nnx.merge(graph, state), *arguments)

    found: Any = jax.jit(run).lower(state, *arguments).cost_analysis()
    return Counted(
        flops=float(found["flops"]),
        other_flops=float(found.get("transcendentals", 0.0)),
        traffic=float(found["bytes accessed"]),
    )


def abstract_model(sizes: Sizes, *, dtype: jnp.dtype) -> ReferenceTransformer:
    """The Flax model without values."""
    return nnx.eval_shape(lambda: ReferenceTransformer(sizes, dtype=dtype))


def count_by_xla(sizes: Sizes, shape: Shape, *, dtype: jnp.dtype) -> dict[str, Counted]:
    """XLA's count of every operator of a step that is a matrix product, by name."""
    plans = layer_plans(sizes)
    total: defaultdict[str, list[Counted]] = defaultdict(list)
    for plan in dict.fromkeys(plans):
        layer = _abstract_layer(sizes, plan, dtype=dtype)
        for name, function, arguments in _layer(layer, shape, dtype=dtype):
            each = xla_cost(function, layer, *arguments)
            total[name] += [each] * plans.count(plan)
    ends = abstract_model(replace(sizes, num_layers=0), dtype=dtype)
    hidden = jax.ShapeDtypeStruct((shape.batch, sizes.hidden_size), dtype)
    total["lm head"].append(xla_cost(ReferenceTransformer.logits, ends, hidden))
    return {name: _sum(parts) for name, parts in total.items()}


def count_state_by_xla(sizes: Sizes, *, batch: int) -> Counted:
    """XLA's count of the state update of one recurrent layer and token."""
    plan = LayerPlan(mixer="recurrent", window=0, feedforward="none")
    layer = _abstract_layer(sizes, plan, dtype=jnp.dtype(jnp.float32))
    heads, width = sizes.num_mixer_heads, sizes.inner_size // sizes.num_mixer_heads

    def array(*shape: int) -> Any:
        return jax.ShapeDtypeStruct((batch, heads, *shape), jnp.float32)

    group = array(sizes.state_size)
    inputs = (array(width), group, group, array())
    state = array(width, sizes.state_size)
    return xla_cost(lambda x, s, i: x.mixer.updated(s, i), layer, state, inputs)


def count_step_by_xla(sizes: Sizes, shape: Shape, *, dtype: jnp.dtype) -> Counted:
    """XLA's count of a whole step; the body of a recurrence over tokens once."""
    model = abstract_model(sizes, dtype=dtype)
    caches = jax.eval_shape(lambda: model.empty(shape.batch, length=shape.span))
    tokens = jax.ShapeDtypeStruct((shape.batch, shape.tokens), jnp.int32)
    position = jax.ShapeDtypeStruct((), jnp.int32)

    def step(run: Any, tokens: Any, *rest: Any) -> Any:
        return run(tokens, rest[0], position=rest[1])

    return xla_cost(step, model, tokens, caches, position)


def count_by_table(model: Transformer, shape: Shape) -> dict[str, Counted]:
    """Our count of the same step on one chip, by operator name."""
    batch = float(shape.batch)
    zero = jnp.zeros(())
    decode = batch if shape.decodes else zero
    prompts = zero if shape.decodes else batch
    part = _shard(
        model,
        sequences=decode,
        prompts=prompts,
        prefill_tokens=prompts * shape.tokens,
        span=float(shape.span),
    )
    rows = [
        *attention_rows(model, part),
        *feedforward_rows(model, part),
        *expert_rows(model, part, skew=0.0),
        *recurrent_rows(model, part, padding=0.0),
        *token_rows(model, part, sampling_traffic=0.0),
    ]
    kinds = tuple(row.kind for row in rows)
    done = work(stack_rows(rows, kinds), kinds, tiles=NO_TILES, sharpness=None)
    moved = done.weight_bytes + done.cache_bytes + done.activation_bytes
    columns = (done.flops, done.vector_flops, moved + done.extra_bytes)
    table = np.stack([np.asarray(column) for column in columns], axis=-1)
    return {
        kind.name: Counted(*(float(value) for value in values))
        for kind, values in zip(kinds, table, strict=True)
    }


def _abstract_layer(sizes: Sizes, plan: LayerPlan, *, dtype: jnp.dtype) -> Layer:
    return nnx.eval_shape(lambda: Layer(sizes, plan, dtype=dtype, rngs=nnx.Rngs(0)))


def _shard(
    model: Transformer,
    *,
    sequences: Count,
    prompts: Count,
    prefill_tokens: Tokens,
    span: Tokens,
) -> Shard:
    one = jnp.ones(())
    return Shard(
        tensor=one,
        pipeline=one,
        expert=one,
        expert_tensor=one,
        expert_replicas=one,
        microbatches=one,
        tokens=sequences + prefill_tokens,
        sequences=sequences,
        context=span,
        prefill_tokens=prefill_tokens,
        prompts=prompts,
        prefill_context=span,
        kv_heads=model.num_kv_heads,
        layer_share=one,
    )


def _sum(parts: list[Counted]) -> Counted:
    return Counted(
        flops=sum(part.flops for part in parts),
        other_flops=sum(part.other_flops for part in parts),
        traffic=sum(part.traffic for part in parts),
    )


def _layer(layer: Layer, shape: Shape, *, dtype: jnp.dtype) -> Iterator[Operator]:
    mixer = layer.mixer
    if isinstance(mixer, GroupedAttention):
        yield from _grouped(mixer, shape, dtype=dtype)
    elif isinstance(mixer, LatentAttention):
        yield from _latent(mixer, shape, dtype=dtype)
    else:
        yield from _recurrent(mixer, shape, dtype=dtype)
    if isinstance(layer.feedforward, Experts):
        yield from _experts(layer.feedforward, shape, dtype=dtype)
    elif layer.feedforward is not None:
        yield from _dense(layer.feedforward, shape, dtype=dtype)


def _product(path: str) -> Function:
    """A projection of a layer, by the path of its module."""

    def apply(layer: Any, x: Any) -> Any:
        for name in path.split("."):
            layer = getattr(layer, name)
        return layer(x)

    return apply


def _flat(shape: Shape, width: int, *, dtype: jnp.dtype) -> tuple[Any]:
    return (jax.ShapeDtypeStruct((shape.batch * shape.tokens, width), dtype),)


def _inputs(linear: nnx.Linear) -> int:
    return linear.in_features


def _projections(
    names: dict[str, tuple[str, nnx.Linear]], shape: Shape, *, dtype: jnp.dtype
) -> Iterator[Operator]:
    for path, (name, module) in names.items():
        yield name, _product(path), _flat(shape, _inputs(module), dtype=dtype)


def _grouped(
    mixer: GroupedAttention, shape: Shape, *, dtype: jnp.dtype
) -> Iterator[Operator]:
    named = {
        "mixer.qkv": ("qkv projection", mixer.qkv),
        "mixer.output": ("output projection", mixer.output),
    }
    yield from _projections(named, shape, dtype=dtype)
    batch, span = shape.batch, mixer.slots(shape.span) if shape.decodes else shape.span
    query = jax.ShapeDtypeStruct((batch, shape.tokens, mixer.heads, mixer.size), dtype)
    key = jax.ShapeDtypeStruct((batch, span, mixer.kv_heads, mixer.size), dtype)
    group = mixer.heads // mixer.kv_heads
    grid = (batch, mixer.kv_heads, group, shape.tokens, span)
    weights = jax.ShapeDtypeStruct(grid, dtype)
    name = f"{'decode' if shape.decodes else 'prefill'} attention"
    name += ", window" if mixer.window else ""
    yield name, lambda layer, q, k: layer.mixer.scores(q, k), (query, key)
    yield name, lambda layer, p, v: layer.mixer.mixed(p, v), (weights, key)


def _latent(
    mixer: LatentAttention, shape: Shape, *, dtype: jnp.dtype
) -> Iterator[Operator]:
    named = {
        "mixer.query_up": ("latent query projection", mixer.query_up),
        "mixer.down": ("latent down projection", mixer.down),
        "mixer.output": ("latent output projection", mixer.output),
    }
    if mixer.compressed:
        named["mixer.query_down"] = ("latent down projection", mixer.query_down)
    up = "latent key and value projection"

    def array(*sizes: int) -> Any:
        return jax.ShapeDtypeStruct(sizes, dtype)

    batch, tokens, heads = shape.batch, shape.tokens, mixer.heads
    weights = array(batch, heads, tokens, shape.span)
    if shape.decodes:
        yield from _projections(named, shape, dtype=dtype)
        plain = array(batch, tokens, heads, mixer.nope)
        narrow = array(batch, tokens, heads, mixer.rank)
        rotary = array(batch, tokens, heads, mixer.rope)
        cache = {
            "latent": array(batch, shape.span, mixer.rank),
            "rope": array(batch, shape.span, mixer.rope),
        }
        yield up, lambda layer, q: layer.mixer.absorbed(q), (plain,)
        yield up, lambda layer, c: layer.mixer.released(c), (narrow,)
        name = "latent decode attention"
        yield name, _latent_product, (narrow, rotary, cache)
        yield name, lambda layer, p, c: layer.mixer.latent_mixed(p, c), (weights, cache)
        return
    named["mixer.key_up"] = (up, mixer.key_up)
    named["mixer.value_up"] = (up, mixer.value_up)
    yield from _projections(named, shape, dtype=dtype)
    query = array(batch, tokens, heads, mixer.nope + mixer.rope)
    value = array(batch, tokens, heads, mixer.width)
    name = "latent prefill attention"
    yield name, lambda layer, q, k: layer.mixer.scores(q, k), (query, query)
    yield name, lambda layer, p, v: layer.mixer.mixed(p, v), (weights, value)


def _latent_product(layer: Any, *arguments: Any) -> Any:
    query, rotary, cache = arguments
    return layer.mixer.latent_scores(query, rotary, cache=cache)


def _recurrent(
    mixer: RecurrentMixer, shape: Shape, *, dtype: jnp.dtype
) -> Iterator[Operator]:
    named = {
        "mixer.project": ("recurrent in", mixer.project),
        "mixer.output": ("recurrent out", mixer.output),
    }
    yield from _projections(named, shape, dtype=dtype)


def _dense(
    module: FeedForward, shape: Shape, *, dtype: jnp.dtype
) -> Iterator[Operator]:
    named = {
        "feedforward.inputs": ("ffn in", module.inputs),
        "feedforward.output": ("ffn out", module.output),
    }
    yield from _projections(named, shape, dtype=dtype)


def _experts(module: Experts, shape: Shape, *, dtype: jnp.dtype) -> Iterator[Operator]:
    named = {"feedforward.router": ("router", module.router)}
    if module.shared is not None:
        named |= {
            "feedforward.shared.inputs": ("shared expert in", module.shared.inputs),
            "feedforward.shared.output": ("shared expert out", module.shared.output),
        }
    yield from _projections(named, shape, dtype=dtype)
    tokens = shape.batch * shape.tokens
    few = module.gathers(tokens)
    copies = tokens * module.active if few else module.num
    places = 1 if few else module.places(tokens)
    for name, kernel in (("in", module.inputs), ("out", module.outputs)):
        inner, outer = kernel.shape[1:]
        x = jax.ShapeDtypeStruct((copies, places, inner), dtype)
        weights = jax.ShapeDtypeStruct((copies, inner, outer), dtype)
        yield (
            f"experts {name}",
            lambda layer, x, w: layer.feedforward.widened(x, w),
            (x, weights),
        )
