"""Tiny models of every kind of layer."""

from codesign.model.huggingface import build_transformer
from codesign.model.transformer import Transformer

COMMON = {
    "hidden_size": 32,
    "num_layers": 3,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_size": 8,
    "ffn_size": 48,
    "vocab_size": 96,
}
EXPERTS = {
    "num_experts": 16,
    "num_active_experts": 2,
    "expert_size": 24,
    "shared_size": 40,
    "num_dense_layers": 1,
}
LATENT = {
    "latent_fraction": 1,
    "latent.query_rank": 20,
    "latent.kv_rank": 16,
    "latent.rope_size": 4,
    "latent.nope_size": 6,
    "latent.value_size": 10,
}
RECURRENT = {
    "num_ffn_layers": 2,
    "num_ffn_matrices": 2,
    "recurrent.num_layers": 2,
    "recurrent.inner_size": 64,
    "recurrent.state_size": 16,
    "recurrent.num_groups": 2,
    "recurrent.num_heads": 8,
    "recurrent.conv_size": 4,
}
VALUES = {
    "grouped": {},
    "experts": EXPERTS,
    "gated, window, experts, tied": EXPERTS
    | {"gated_attention": 1, "tied_embeddings": 1}
    | {"num_window_layers": 2, "window_size": 5},
    "latent": LATENT,
    "latent, query direct": LATENT | EXPERTS | {"latent.query_rank": 0},
    "recurrent": RECURRENT,
    "linear": RECURRENT | EXPERTS | {"recurrent.conv_size": 0},
}


def tiny(kind: str) -> Transformer:
    """A small model of a kind."""
    return build_transformer(COMMON | VALUES[kind])
