"""Which Transformer does a Hugging Face ``config.json`` describe?

Mapping of a config file -> Transformer. Reading the file stands elsewhere.
A family is a ``model_type``; each names how its layers, experts and windows
are written, and which keys its published files leave to the class defaults.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from codesign.core.errors import InputError
from codesign.core.paths import nearest, path_units
from codesign.core.record import as_float64
from codesign.model.formats import quantized_formats
from codesign.model.transformer import Latent, Recurrent, Transformer

Values = dict[str, float]

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


class ConfigReader:
    """Numbers of a config file; remembers every absent or unreadable key."""

    def __init__(self, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self.config = config
        self.defaults = defaults
        self.problems: list[str] = []

    def raw(self, name: str) -> Any:
        """Value of a key, of its class default, or None."""
        value = self.config.get(name)
        return self.defaults.get(name) if value is None else value

    def number(self, *names: str, default: float | None = None) -> float:
        """First of several keys that is set; noted as missing if none is."""
        for name in names:
            value = self.raw(name)
            if isinstance(value, int | float):
                return float(value)
            if value is not None:
                self.problems.append(f"{name} is {value!r}, not a number")
                return 1.0
        if default is None:
            self.problems.append(f"{' or '.join(names)} is missing")
            return 1.0
        return default

    def size(self, *names: str) -> float:
        """A number that must be positive."""
        value = self.number(*names)
        if value > 0:
            return value
        self.problems.append(f"{' or '.join(names)} is {value:g}, must be positive")
        return 1.0


Part = Callable[[ConfigReader, Values], Values]
WindowCount = Callable[[ConfigReader, float], float]


@dataclass(frozen=True)
class Family:
    """How one ``model_type`` writes its FFN, its attention and its windows."""

    feedforward: Part
    attention: Part
    windows: WindowCount
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])


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
    config: Mapping[str, Any], *, training_tokens: float = 0.0
) -> Transformer:
    """Transformer described by the content of a ``config.json``.

    Number formats follow ``quantization_config``; without one everything is
    16 bit. A file does not say how long its model was trained: give
    ``training_tokens`` where quality is asked for, 0 means unknown.

    Assumes: the text decoder only. Vision towers, prediction heads for
    several tokens, biases and norms on Q and K are left out.
    Source: configuration classes of huggingface/transformers.

    Example:
        >>> shape = dict(hidden_size=4096, num_hidden_layers=32, vocab_size=32000,
        ...              num_attention_heads=32, intermediate_size=11008)
        >>> model = from_huggingface({"model_type": "llama", **shape})
        >>> float(model.head_size), float(model.num_kv_heads)
        (128.0, 32.0)
    """
    text = _text_config(config)
    model_type = text.get("model_type")
    if model_type not in FAMILIES:
        raise _unknown_type(model_type)
    family = FAMILIES[model_type]
    reader = ConfigReader(text, family.defaults)
    values = _common(reader)
    values |= family.attention(reader, values)
    values |= family.feedforward(reader, values)
    values |= _windows(reader, values, count=family.windows)
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


def _unknown_type(model_type: Any) -> InputError:
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
        "Or describe the model by its fields in a YAML file like configs/models/*."
    )


def _common(read: ConfigReader) -> Values:
    layers = read.size("num_hidden_layers")
    return {
        "hidden_size": read.size("hidden_size"),
        "num_layers": layers,
        "num_ffn_layers": layers,
        "vocab_size": read.size("vocab_size"),
        "tied_embeddings": read.number("tie_word_embeddings", default=0.0),
    }


def _grouped_attention(read: ConfigReader, values: Values) -> Values:
    heads = read.size("num_attention_heads")
    even = values["hidden_size"] / heads
    return {
        "num_heads": heads,
        "num_kv_heads": read.number("num_key_value_heads", default=heads),
        "head_size": read.number("head_dim", "attention_head_dim", default=even),
    }


def _latent_attention(read: ConfigReader, values: Values) -> Values:
    nope, rope = read.number("qk_nope_head_dim"), read.number("qk_rope_head_dim")
    return {
        **_grouped_attention(read, values),
        "head_size": nope + rope,
        "latent_fraction": 1.0,
        "latent.query_rank": read.number("q_lora_rank", default=0.0),
        "latent.kv_rank": read.number("kv_lora_rank"),
        "latent.rope_size": rope,
        "latent.nope_size": nope,
        "latent.value_size": read.number("v_head_dim"),
    }


def _hybrid_attention(read: ConfigReader, values: Values) -> Values:
    """Nemotron-H: a pattern of single blocks, M Mamba-2, * attention, - FFN."""
    pattern = _pattern(read)
    heads = read.size("mamba_num_heads")
    mixers = pattern.count("M") + pattern.count("*")
    return {
        **_grouped_attention(read, values),
        "num_layers": float(mixers),
        "recurrent.num_layers": float(pattern.count("M")),
        "recurrent.inner_size": heads * read.number("mamba_head_dim"),
        "recurrent.state_size": read.number("ssm_state_size"),
        "recurrent.num_groups": read.number("n_groups"),
        "recurrent.num_heads": heads,
        "recurrent.conv_size": read.number("conv_kernel"),
    }


def _pattern(read: ConfigReader) -> str:
    pattern = read.raw("hybrid_override_pattern")
    if not isinstance(pattern, str):
        read.problems.append("hybrid_override_pattern is missing")
        return ""
    published = read.number("num_hidden_layers", default=float(len(pattern)))
    if unknown := sorted(set(pattern) - set("M*-E")):
        read.problems.append(f"hybrid_override_pattern has unknown blocks {unknown}")
    if len(pattern) != published:
        read.problems.append(
            f"hybrid_override_pattern has {len(pattern)} blocks, "
            f"num_hidden_layers says {published:g}"
        )
    return pattern


def _dense_ffn(read: ConfigReader, _: Values) -> Values:
    return {"ffn_size": read.size("intermediate_size")}


def _plain_ffn(read: ConfigReader, _: Values) -> Values:
    return {"ffn_size": read.size("intermediate_size"), "num_ffn_matrices": 2.0}


def _hybrid_ffn(read: ConfigReader, _: Values) -> Values:
    pattern = _pattern(read)
    dense, sparse = pattern.count("-"), pattern.count("E")
    values = {"num_ffn_matrices": 2.0, "num_ffn_layers": float(dense + sparse)}
    if dense:
        values["ffn_size"] = read.size("intermediate_size")
    if sparse:
        values |= _experts(read, dense=dense, size="moe_intermediate_size")
        values["shared_size"] = read.number("moe_shared_expert_intermediate_size")
    return values


def _experts(read: ConfigReader, *, dense: float, size: str) -> Values:
    return {
        "num_dense_layers": float(dense),
        "num_experts": read.size(
            "num_experts", "num_local_experts", "n_routed_experts"
        ),
        "num_active_experts": read.number("num_experts_per_tok", "experts_per_token"),
        "expert_size": read.size(size),
    }


def _every_layer_experts(read: ConfigReader, _: Values) -> Values:
    return _experts(read, dense=0.0, size="intermediate_size")


def _qwen_experts(read: ConfigReader, values: Values) -> Values:
    step = max(int(read.number("decoder_sparse_step", default=1.0)), 1)
    dense_only: list[int] = read.raw("mlp_only_layers") or []
    layers = range(int(values["num_layers"]))
    dense = sum((i + 1) % step != 0 or i in dense_only for i in layers)
    experts = _experts(read, dense=dense, size="moe_intermediate_size")
    experts["shared_size"] = read.number("shared_expert_intermediate_size", default=0.0)
    return experts | (_dense_ffn(read, values) if dense else {})


def _deepseek_experts(read: ConfigReader, values: Values) -> Values:
    first = read.number("first_k_dense_replace")
    step = max(int(read.number("moe_layer_freq", default=1.0)), 1)
    layers = range(int(values["num_layers"]))
    dense = sum(i < first or i % step != 0 for i in layers)
    experts = _experts(read, dense=dense, size="moe_intermediate_size")
    num_shared = read.number("n_shared_experts", default=0.0)
    experts["shared_size"] = num_shared * experts["expert_size"]
    return experts | (_dense_ffn(read, values) if dense else {})


def _llama4_experts(read: ConfigReader, values: Values) -> Values:
    step = max(int(read.number("interleave_moe_layer_step", default=1.0)), 1)
    dense = values["num_layers"] - int(values["num_layers"]) // step
    experts = _experts(read, dense=dense, size="intermediate_size")
    experts["shared_size"] = experts["expert_size"]
    if dense:
        experts["ffn_size"] = read.number("intermediate_size_mlp")
    return experts


def _windows(read: ConfigReader, values: Values, *, count: WindowCount) -> Values:
    """Windowed layers by ``layer_types`` where given, else the family's rule."""
    size = read.number("sliding_window", "attention_chunk_size", default=0.0)
    if not size or read.raw("use_sliding_window") is False:
        return {}
    kinds = read.raw("layer_types")
    if kinds:
        windowed = sum(k in ("sliding_attention", "chunked_attention") for k in kinds)
    else:
        windowed = count(read, values["num_layers"])
    if not windowed:
        return {}
    return {
        "num_window_layers": float(windowed),
        "window_size": size,
        "chunked_attention": float(bool(read.raw("attention_chunk_size"))),
    }


def _no_layer(_: ConfigReader, __: float) -> float:
    return 0.0


def _every_layer(_: ConfigReader, layers: float) -> float:
    return layers


def _alternate_layers(_: ConfigReader, layers: float) -> float:
    return float((int(layers) + 1) // 2)


def _upper_layers(read: ConfigReader, layers: float) -> float:
    """Qwen: the layers from ``max_window_layers`` on."""
    return max(layers - read.number("max_window_layers", default=layers), 0.0)


def _five_of_six_layers(read: ConfigReader, layers: float) -> float:
    """Gemma 3: one global layer after every five local ones."""
    period = read.number("sliding_window_pattern", default=6.0)
    return layers - layers // period


def _rotary_layers(read: ConfigReader, layers: float) -> float:
    """Llama 4: chunked attention in all but every fourth layer."""
    flags = read.raw("no_rope_layers")
    if flags:
        return float(sum(flags))
    return layers - layers // read.number("no_rope_layer_interval", default=4.0)


_TIED = {"tie_word_embeddings": True}
_GEMMA_3 = {"vocab_size": 262208, "head_dim": 256, **_TIED}

_DENSE = Family(_dense_ffn, _grouped_attention, _no_layer)
_QWEN = Family(_dense_ffn, _grouped_attention, _upper_layers)
_MISTRAL = Family(_dense_ffn, _grouped_attention, _every_layer)
_GEMMA_TEXT = Family(_dense_ffn, _grouped_attention, _five_of_six_layers, _GEMMA_3)
_QWEN_MOE = Family(_qwen_experts, _grouped_attention, _upper_layers)
_DEEPSEEK = Family(_deepseek_experts, _latent_attention, _no_layer)

FAMILIES: dict[str, Family] = {
    "llama": _DENSE,
    "mistral": _MISTRAL,
    "phi3": _MISTRAL,
    "starcoder2": Family(_plain_ffn, _grouped_attention, _every_layer, _TIED),
    "qwen2": _QWEN,
    "qwen3": _QWEN,
    "gemma": Family(_dense_ffn, _grouped_attention, _no_layer, _TIED),
    "gemma2": Family(_dense_ffn, _grouped_attention, _alternate_layers, _TIED),
    "gemma3_text": _GEMMA_TEXT,
    "mixtral": Family(_every_layer_experts, _grouped_attention, _every_layer),
    "minimax_m2": Family(_every_layer_experts, _grouped_attention, _no_layer),
    "gpt_oss": Family(_every_layer_experts, _grouped_attention, _alternate_layers),
    "qwen2_moe": _QWEN_MOE,
    "qwen3_moe": _QWEN_MOE,
    "glm4_moe": Family(_deepseek_experts, _grouped_attention, _no_layer),
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "kimi_k2": _DEEPSEEK,
    "glm_moe_dsa": _DEEPSEEK,
    "llama4_text": Family(_llama4_experts, _grouped_attention, _rotary_layers),
    "nemotron_h": Family(_hybrid_ffn, _hybrid_attention, _no_layer),
}
