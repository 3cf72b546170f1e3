"""How many weights does a model hold, and how many does one token use?

Transformer -> layer counts by kind and a ``ParameterCount``.

A layer is one sequence mixer (attention or recurrence) with the FFN that may
follow it, so ``num_layers = attention layers + recurrent layers`` holds for
every model. Hybrids published as a chain of single blocks (Nemotron-H: 27
Mamba, 4 attention, 25 FFN blocks, "56 layers") have 31 layers of this kind,
of which ``num_ffn_layers`` = 25 have an FFN.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Count
from codesign.core.record import Record
from codesign.core.smooth import saturate
from codesign.model.transformer import Latent, Transformer


class ParameterCount(Record):
    """Number of weights by part, summed over layers and chips.

    ``total`` is what is stored, ``active`` what one token uses, embedding and
    head included in both (tied ones once). ``experts`` are all routed
    experts, ``one_expert`` one of them in one layer, ``shared`` the FFN beside
    them. ``embedding`` is the input table; ``head`` the separate output matrix
    and 0 where it is tied. The N of scaling laws (one of the two matrices) is
    ``active - head``.
    """

    total: Count
    active: Count
    attention: Count
    dense_ffn: Count
    shared: Count
    router: Count
    experts: Count
    one_expert: Count
    recurrent: Count
    embedding: Count
    head: Count
    norm: Count


def num_attention_layers(model: Transformer) -> Array:
    """Layers whose mixer is attention: all that are not recurrent."""
    return jnp.maximum(model.num_layers - model.recurrent.num_layers, 0.0)


def expert_share(model: Transformer) -> Array:
    """0 for a dense model (one expert), 1 from two experts on.

    clip(E - 1, 0, 1): in between, a relaxed number of experts blends the
    dense FFN into the experts, so that a gradient in it exists.
    """
    return saturate(jnp.asarray(model.num_experts) - 1.0)


def num_expert_layers(model: Transformer) -> Array:
    """Layers with routed experts: none at ``num_experts == 1``."""
    beyond_dense = jnp.maximum(model.num_ffn_layers - model.num_dense_layers, 0.0)
    return expert_share(model) * beyond_dense


def num_dense_ffn_layers(model: Transformer) -> Array:
    """Layers with a dense FFN of ``ffn_size``: all of them without experts.

    (1 - s) L + s min(L, L_dense), s = ``expert_share``: a sum of parts that are
    never negative, however the compiler rounds them, as times have to be.
    """
    share = expert_share(model)
    with_experts = jnp.minimum(model.num_ffn_layers, model.num_dense_layers)
    return (1.0 - share) * model.num_ffn_layers + share * with_experts


def grouped_attention_parameters(model: Transformer) -> Array:
    """Weights of one grouped-query attention: Q, K, V and output projection.

    d * d_head * ((2 + g) H + 2 H_kv), g = 1 with an output gate; biases are left
    out (below 0.03 %).
    """
    gated = model.num_heads * (1 + model.gated_attention / 2)
    heads = gated + model.num_kv_heads
    return jnp.asarray(2.0 * model.hidden_size * model.head_size * heads)


def latent_attention_parameters(model: Transformer) -> Array:
    """Weights of one multi-head latent attention.

    Q: d r_q + r_q H (d_nope + d_rope), or d H (d_nope + d_rope) at r_q = 0;
    KV: d (r_kv + d_rope) + r_kv H (d_nope + d_v); output: H d_v d.

    Source: DeepSeek-V2, arXiv 2405.04434, section 2.1 and appendix C.
    """
    latent: Latent = model.latent
    hidden, heads = model.hidden_size, model.num_heads
    query_width = heads * (latent.nope_size + latent.rope_size)
    rank = jnp.asarray(latent.query_rank)
    query = jnp.where(rank > 0, rank * (hidden + query_width), hidden * query_width)
    down = hidden * (latent.kv_rank + latent.rope_size)
    up = latent.kv_rank * heads * (latent.nope_size + latent.value_size)
    return query + down + up + heads * latent.value_size * hidden


def recurrent_parameters(model: Transformer) -> Array:
    """Weights of one recurrent mixer in the form of Mamba-2.

    d (3 d_in + 2 G S + H) + conv * (d_in + 2 G S): projections of gate, input,
    B, C and step, output projection, short convolution. Gated linear attention
    (Gated DeltaNet) fits it with d_in the value width, G S the key width and
    S the key width of one head.

    Source: Dao, Gu, "Transformers are SSMs", arXiv 2405.21060, section 7.
    """
    mixer = model.recurrent
    state_width = 2.0 * mixer.num_groups * mixer.state_size
    projected = 3.0 * mixer.inner_size + state_width + mixer.num_heads
    convolved = mixer.conv_size * (mixer.inner_size + state_width)
    return jnp.asarray(model.hidden_size * projected + convolved)


def count_parameters(model: Transformer) -> ParameterCount:
    """Number of weights of a model, by part.

    total = attention + recurrent + FFN + experts + norms + embedding + head;
    active = the same with min(k, E) instead of E experts per expert layer.

    Assumes: no biases and two norms per layer with an FFN (one without), which
    agrees with published totals within 0.1 %.

    Example:
        >>> from codesign.model.huggingface import from_huggingface
        >>> shape = dict(hidden_size=4096, num_hidden_layers=32, vocab_size=32000,
        ...              num_attention_heads=32, intermediate_size=11008)
        >>> model = from_huggingface({"model_type": "llama", **shape})
        >>> round(float(count_parameters(model).total) / 1e9, 2)
        6.74
    """
    hidden = jnp.asarray(model.hidden_size)
    expert_layers = num_expert_layers(model)
    per_width = model.num_ffn_matrices * hidden
    one_expert = per_width * model.expert_size
    latent = model.latent_fraction
    attention = num_attention_layers(model) * (
        (1.0 - latent) * grouped_attention_parameters(model)
        + latent * latent_attention_parameters(model)
    )
    recurrent = model.recurrent.num_layers * recurrent_parameters(model)
    dense_ffn = num_dense_ffn_layers(model) * per_width * model.ffn_size
    shared = expert_layers * per_width * model.shared_size
    router = expert_layers * hidden * model.num_experts
    embedding = model.vocab_size * hidden
    head = (1.0 - model.tied_embeddings) * embedding
    norm = hidden * (model.num_layers + model.num_ffn_layers + 1.0)
    body = attention + recurrent + dense_ffn + shared + router + norm
    always = body + embedding + head
    num_active = jnp.minimum(model.num_active_experts, model.num_experts)
    experts = expert_layers * model.num_experts * one_expert
    return ParameterCount(
        total=always + experts,
        active=always + expert_layers * num_active * one_expert,
        attention=attention,
        dense_ffn=dense_ffn,
        shared=shared,
        router=router,
        experts=experts,
        one_expert=one_expert,
        recurrent=recurrent,
        embedding=embedding,
        head=head,
        norm=norm,
    )
