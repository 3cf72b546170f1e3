"""Which Transformer does a Hugging Face ``config.json`` describe?

Mapping of a config file -> Transformer. Reading the file stands elsewhere.
A family is a ``model_type``; each names how its layers, experts and windows
are written, and which keys its published files leave to the class defaults.
"""

from collections.abc import Mapping
from typing import Any

from codesign.core.errors import InputError
from codesign.core.paths import nearest, path_units
from codesign.core.record import as_float64
from codesign.model.blocks import (
    deepseek_experts,
    dense_ffn,
    every_layer_experts,
    llama4_experts,
    mamba_hybrid_ffn,
    plain_ffn,
    qwen_experts,
    unset_ffn,
)
from codesign.model.formats import quantized_formats
from codesign.model.mixers import (
    alternate_layers,
    delta_hybrid,
    every_layer,
    five_of_six_layers,
    grouped_attention,
    latent_attention,
    lightning_hybrid,
    mamba_hybrid,
    no_layer,
    rotary_layers,
    upper_layers,
    windows,
)
from codesign.model.reader import ConfigReader, Family, Values
from codesign.model.transformer import Latent, Recurrent, Transformer

DENSE_VALUES: Values = {
    "num_ffn_matrices": 3.0,
    "tied_embeddings": 0.0,
    "num_experts": 1.0,
    "num_active_experts": 1.0,
    "shared_size": 0.0,
    "num_dense_layers": 0.0,
    "num_window_layers": 0.0,
    "window_size": 0.0,
    "chunked_attention": 0.0,
    "gated_attention": 0.0,
    "latent_fraction": 0.0,
    "weight_bits": 16.0,
    "activation_bits": 16.0,
    "kv_bits": 16.0,
    "head_bits": 16.0,
    "min_attention_bits": 0.0,
    "scale_bits": 0.25,
    "training_tokens": 0.0,
    "weight_density": 1.0,
    "index_bits": 2.0,
    "activation_density": 1.0,
}
"""A dense grouped-query transformer in 16 bit; tokens 0 means unknown."""
MOST_LAYERS = 10_000


def build_transformer(values: Mapping[str, float]) -> Transformer:
    """Transformer from values by dotted field name, dense where left out.

    Sizes that a model does not use get the value of equal active width, so
    that a search may switch them on: ``expert_size`` of a dense model is its
    ``ffn_size``; ``ffn_size`` of a model without dense layers is the width of
    its active and shared experts.
    """
    full = {**DENSE_VALUES, **values}
    full.setdefault("num_ffn_layers", full["num_layers"])
    full.setdefault("expert_size", full.get("ffn_size", 0.0))
    if not full.get("ffn_size"):
        active = full["num_active_experts"] * full["expert_size"]
        full["ffn_size"] = active + full["shared_size"]
    fields: dict[str, Any] = {k: v for k, v in full.items() if "." not in k}
    for name, record_type in (("latent", Latent), ("recurrent", Recurrent)):
        parts = {
            path: full.get(f"{name}.{path}", 0.0) for path in path_units(record_type)
        }
        fields[name] = record_type(**parts)
    return as_float64(Transformer(**fields))


def from_huggingface(
    config: Mapping[str, Any], *, training_tokens: float = 0.0, family: str = ""
) -> Transformer:
    """Transformer described by the content of a ``config.json``.

    Number formats follow ``quantization_config``; without one everything is
    16 bit. A file does not say how long its model was trained: give
    ``training_tokens`` where quality is asked for, 0 means unknown. ``family``
    reads it as another ``model_type``, for one that is written like a known one.

    Assumes: the text decoder only. Vision towers, prediction heads for
    several tokens, biases and norms on Q and K are left out, and so is which
        part of the context block-sparse (Phi-3-small) or indexed (GLM-5)
        attention skips.
    Source: configuration classes of huggingface/transformers.

    Example:
        >>> shape = dict(hidden_size=4096, num_hidden_layers=32, vocab_size=32000,
        ...              num_attention_heads=32, intermediate_size=11008)
        >>> model = from_huggingface({"model_type": "llama", **shape})
        >>> float(model.head_size), float(model.num_kv_heads)
        (128.0, 32.0)
    """
    text = _text_config(config)
    model_type = family or text.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise _unknown_type(model_type, text)
    rules = FAMILIES[model_type]
    reader = ConfigReader(text, defaults=rules.defaults, renamed=rules.renamed)
    values = _common(reader)
    values |= rules.attention(reader, values)
    values |= rules.feedforward(reader, values)
    values |= windows(reader, values, count=rules.windows)
    if reader.problems:
        found = "; ".join(dict.fromkeys(reader.problems))
        raise InputError(f"config.json of a {model_type!r} model: {found}")
    values |= quantized_formats(text.get("quantization_config"))
    return build_transformer({**values, "training_tokens": training_tokens})


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The text part of a multi-modal config over the keys around it."""
    inner = config.get("text_config")
    if not isinstance(inner, Mapping):
        return config
    outer = config.get("model_type")
    text = {**config, **{k: v for k, v in inner.items() if v is not None}}
    text["model_type"] = inner.get("model_type", f"{outer}_text")
    return text


def _unknown_type(model_type: Any, text: Mapping[str, Any]) -> InputError:
    known = sorted(FAMILIES)
    if model_type is None:
        return InputError(
            "config.json has no model_type, so its family is unknown. "
            f"Known: {', '.join(known)}."
        )
    close = nearest(str(model_type), known)
    hint = f"Nearest known: {', '.join(close)}. " if close else ""
    return InputError(
        f"model_type {model_type!r}: no rule says how this family writes its "
        f"attention, FFN and experts. {hint}Known: {', '.join(known)}. "
        f"{_as_dense(text)} "
        "Or describe the model by its fields in a YAML file like configs/models/*."
    )


def _as_dense(text: Mapping[str, Any]) -> str:
    """What a dense model would lack, and how to read the file as one."""
    reader = ConfigReader(text, defaults={}, renamed={})
    values = _common(reader)
    values |= grouped_attention(reader, values)
    dense_ffn(reader, values)
    lacking = "; ".join(dict.fromkeys(reader.problems))
    how = f'"codesign import-hf config.json --as {DENSE}"'
    if lacking:
        return f"As a dense one ({how}) it would not do: {lacking}."
    return f"If it is written like a dense one: {how}."


def _common(read: ConfigReader) -> Values:
    layers = read.size("num_hidden_layers")
    if layers > MOST_LAYERS:
        read.problems.append(f"num_hidden_layers is {layers:g}, at most {MOST_LAYERS}")
        layers = 1.0
    return {
        "hidden_size": read.size("hidden_size"),
        "num_layers": layers,
        "num_ffn_layers": layers,
        "vocab_size": read.size("vocab_size"),
        "tied_embeddings": read.number("tie_word_embeddings", default=0.0),
    }


DENSE = "llama"
"""Family of plain dense models."""

_TIED = {"tie_word_embeddings": True}
_GEMMA_3 = {"vocab_size": 262208, "head_dim": 256, **_TIED}
_EVERY_FOURTH = {"full_attention_interval": 4, "attn_output_gate": True}
_GPT_J = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
}
_PHI_3_SMALL = {"intermediate_size": "ff_intermediate_size"}

_DENSE = Family(dense_ffn, grouped_attention, no_layer)
_QWEN = Family(dense_ffn, grouped_attention, upper_layers)
_MISTRAL = Family(dense_ffn, grouped_attention, every_layer)
_GEMMA_TEXT = Family(dense_ffn, grouped_attention, five_of_six_layers, _GEMMA_3)
_QWEN_MOE = Family(qwen_experts, grouped_attention, upper_layers)
_QWEN_HYBRID = Family(qwen_experts, delta_hybrid, no_layer, _EVERY_FOURTH)
_MINIMAX = Family(every_layer_experts, lightning_hybrid, no_layer)
_DEEPSEEK = Family(deepseek_experts, latent_attention, no_layer)

FAMILIES: dict[str, Family] = {
    "llama": _DENSE,
    "glm4": _DENSE,
    "mistral": _MISTRAL,
    "phi3": _MISTRAL,
    "phi3small": Family(
        dense_ffn, grouped_attention, no_layer, _TIED, renamed=_PHI_3_SMALL
    ),
    "gptj": Family(unset_ffn, grouped_attention, no_layer, renamed=_GPT_J),
    "nemotron": Family(plain_ffn, grouped_attention, no_layer),
    "starcoder2": Family(plain_ffn, grouped_attention, every_layer, _TIED),
    "qwen2": _QWEN,
    "qwen3": _QWEN,
    "gemma": Family(dense_ffn, grouped_attention, no_layer, _TIED),
    "gemma2": Family(dense_ffn, grouped_attention, alternate_layers, _TIED),
    "gemma3_text": _GEMMA_TEXT,
    "mixtral": Family(every_layer_experts, grouped_attention, every_layer),
    "minimax": _MINIMAX,
    "minimax_text_01": _MINIMAX,
    "minimax_m2": Family(every_layer_experts, grouped_attention, no_layer),
    "gpt_oss": Family(every_layer_experts, grouped_attention, alternate_layers),
    "qwen2_moe": _QWEN_MOE,
    "qwen3_moe": _QWEN_MOE,
    "qwen3_next": _QWEN_HYBRID,
    "qwen3_5_text": Family(dense_ffn, delta_hybrid, no_layer, _EVERY_FOURTH),
    "qwen3_5_moe_text": _QWEN_HYBRID,
    "glm4_moe": Family(deepseek_experts, grouped_attention, no_layer),
    "glm4_moe_lite": _DEEPSEEK,
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "kimi_k2": _DEEPSEEK,
    "glm_moe_dsa": _DEEPSEEK,
    "llama4_text": Family(llama4_experts, grouped_attention, rotary_layers),
    "nemotron_h": Family(mamba_hybrid_ffn, mamba_hybrid, no_layer),
}
