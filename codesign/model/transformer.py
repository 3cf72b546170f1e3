"""What would we run? The shape and the number formats of a language model.

Attention class, experts and recurrence are counts of layers, not types, so
that one trace serves every model: a row with no layers costs nothing.
"""

from codesign.core.quantities import Bits, Count, Fraction, Tokens
from codesign.core.record import Record


class Latent(Record):
    """Multi-head latent attention: widths of the compressed query and KV."""

    query_rank: Count
    kv_rank: Count
    rope_size: Count
    nope_size: Count
    value_size: Count


class Recurrent(Record):
    """State-space or linear-attention layers that replace attention."""

    num_layers: Count
    inner_size: Count
    state_size: Count
    num_groups: Count
    num_heads: Count
    conv_size: Count


class Transformer(Record):
    """Decoder-only transformer: dense, expert (MoE), latent, windowed, hybrid.

    ``num_experts == 1`` means dense: ``ffn_size`` counts in every FFN layer.
    With more experts, ``num_dense_layers`` layers keep the dense FFN and the
    other FFN layers hold ``num_experts`` experts of ``expert_size``, of which
    ``num_active_experts`` run per token, beside a shared FFN of
    ``shared_size``. ``num_ffn_layers`` of ``num_layers`` have an FFN at all.
    ``chunked_attention`` is 1 where windows are fixed chunks of the context, as
    in Llama 4, and 0 where they slide. ``gated_attention`` is 1 where a further
    projection gates the output of grouped attention, as in Qwen3-Next.
    ``latent_fraction`` is 1 for latent attention and 0 otherwise. Formats:
    ``weight_bits`` of linear layers (not below ``min_attention_bits`` in
    attention), ``head_bits`` of embedding, head, router and norms. Of the weights of
    linear layers ``weight_density`` are kept, 1/2 in the pattern 2:4, each with
    ``index_bits`` that say where it stood; of their inputs ``activation_density``
    are not zero.
    """

    hidden_size: Count
    num_layers: Count
    num_ffn_layers: Count
    num_heads: Count
    num_kv_heads: Count
    head_size: Count
    ffn_size: Count
    num_ffn_matrices: Count
    vocab_size: Count
    tied_embeddings: Fraction
    num_experts: Count
    num_active_experts: Count
    expert_size: Count
    shared_size: Count
    num_dense_layers: Count
    num_window_layers: Count
    window_size: Tokens
    chunked_attention: Fraction
    gated_attention: Fraction
    latent_fraction: Fraction
    latent: Latent
    recurrent: Recurrent
    weight_bits: Bits
    activation_bits: Bits
    kv_bits: Bits
    head_bits: Bits
    min_attention_bits: Bits
    scale_bits: Bits
    training_tokens: Tokens
    weight_density: Fraction = 1.0
    index_bits: Bits = 2.0
    activation_density: Fraction = 1.0
