"""Published models, changed, and the corners of what a search may try."""

import jax.numpy as jnp

from codesign.config.models import load_model
from codesign.model.transformer import Transformer

TOKENS = 15e12


def changed(model: Transformer, **values: float) -> Transformer:
    return model.replace(**{k: jnp.asarray(v, jnp.float64) for k, v in values.items()})


def preset(name: str, **values: float) -> Transformer:
    return changed(load_model(name, training_tokens=TOKENS), **values)


def corners(reference: Transformer) -> dict[str, Transformer]:
    sparse = preset("qwen3-30b-a3b")
    return {
        "one expert": changed(reference, num_experts=1, num_active_experts=1),
        "no expert size": changed(reference, expert_size=0),
        "two experts": changed(sparse, num_experts=2, num_active_experts=2),
        "all experts": changed(sparse, num_experts=8, num_active_experts=8),
        "huge sparsity": changed(sparse, num_experts=1e5),
        "tiny experts": changed(sparse, expert_size=1),
        "wide experts": changed(sparse, expert_size=65536),
        "all KV heads": changed(reference, num_kv_heads=64),
        "one KV head": changed(reference, num_kv_heads=1),
        "latent": preset("deepseek-v3"),
        "one layer": changed(reference, num_layers=1, num_ffn_layers=1),
        "no FFN": changed(reference, num_ffn_layers=0),
        "attention free": changed(preset("nemotron-nano-9b-v2"), num_layers=27),
        "all windowed": changed(reference, num_window_layers=80, window_size=1024),
        "1 bit": changed(reference, weight_bits=1, activation_bits=1, kv_bits=1),
        "32 bit": changed(reference, weight_bits=32, activation_bits=32, kv_bits=32),
        "few tokens": changed(sparse, training_tokens=1e8),
        "many tokens": changed(sparse, training_tokens=1e16),
        "small vocabulary": changed(reference, vocab_size=256),
    }
