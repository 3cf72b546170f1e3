"""How does a family of published models write its attention and recurrence?

Keys of a ``config.json`` -> fields of a Transformer that describe its mixers:
grouped, latent and gated attention, windows, Mamba-2 and linear attention.
"""

from codesign.model.reader import ConfigReader, Values, WindowCount

LINEAR = "linear_attention"
WINDOWED = ("sliding_attention", "chunked_attention")


def grouped_attention(read: ConfigReader, values: Values) -> Values:
    """Grouped-query attention, its output gated where ``attn_output_gate``."""
    heads = read.size("num_attention_heads")
    even = values["hidden_size"] / heads
    return {
        "num_heads": heads,
        "num_kv_heads": read.number("num_key_value_heads", default=heads),
        "head_size": read.number("head_dim", "attention_head_dim", default=even),
        "gated_attention": float(bool(read.raw("attn_output_gate"))),
    }


def latent_attention(read: ConfigReader, values: Values) -> Values:
    """DeepSeek: multi-head latent attention."""
    nope, rope = read.number("qk_nope_head_dim"), read.number("qk_rope_head_dim")
    return {
        **grouped_attention(read, values),
        "head_size": nope + rope,
        "latent_fraction": 1.0,
        "latent.query_rank": read.number("q_lora_rank", default=0.0),
        "latent.kv_rank": read.number("kv_lora_rank"),
        "latent.rope_size": rope,
        "latent.nope_size": nope,
        "latent.value_size": read.number("v_head_dim"),
    }


def mamba_hybrid(read: ConfigReader, values: Values) -> Values:
    """Nemotron-H: a pattern of single blocks, M Mamba-2, * attention, - FFN."""
    pattern = block_pattern(read)
    heads = read.size("mamba_num_heads")
    mixers = pattern.count("M") + pattern.count("*")
    return {
        **grouped_attention(read, values),
        "num_layers": float(mixers),
        "recurrent.num_layers": float(pattern.count("M")),
        "recurrent.inner_size": heads * read.number("mamba_head_dim"),
        "recurrent.state_size": read.number("ssm_state_size"),
        "recurrent.num_groups": read.number("n_groups"),
        "recurrent.num_heads": heads,
        "recurrent.conv_size": read.number("conv_kernel"),
    }


def delta_hybrid(read: ConfigReader, values: Values) -> Values:
    """Qwen3-Next, Qwen3.5: Gated DeltaNet, and gated attention every fourth layer.

    Its projections of gate, value, key and query are those of Mamba-2 with the
    value width for ``inner`` and the key width for ``groups x state``.
    """
    heads = read.size("linear_num_value_heads")
    state = read.size("linear_key_head_dim")
    linear = _linear_layers(read, values["num_layers"])
    return {
        **grouped_attention(read, values),
        "recurrent.num_layers": linear,
        "recurrent.inner_size": heads * read.size("linear_value_head_dim"),
        "recurrent.state_size": state,
        "recurrent.num_groups": read.size("linear_num_key_heads"),
        "recurrent.num_heads": heads,
        "recurrent.conv_size": read.size("linear_conv_kernel_dim"),
    }


def lightning_hybrid(read: ConfigReader, values: Values) -> Values:
    """MiniMax-01: lightning attention, softmax attention every eighth layer.

    Query, key, value and gate are as wide as all heads; there is no convolution.
    """
    attention = grouped_attention(read, values)
    heads, size = attention["num_heads"], attention["head_size"]
    return {
        **attention,
        "recurrent.num_layers": _linear_layers(read, values["num_layers"]),
        "recurrent.inner_size": heads * size,
        "recurrent.state_size": size,
        "recurrent.num_groups": heads,
        "recurrent.num_heads": heads,
        "recurrent.conv_size": 0.0,
    }


def _linear_layers(read: ConfigReader, layers: float) -> float:
    """Linear layers by list of kinds where given, else all but every n-th."""
    kinds = read.items("layer_types") or read.items("attn_type_list")
    if kinds:
        return float(sum(kind in (LINEAR, 0) for kind in kinds))
    return layers - layers // read.size("full_attention_interval")


def block_pattern(read: ConfigReader) -> str:
    """Blocks of a Nemotron-H model, one letter each."""
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


def windows(read: ConfigReader, values: Values, *, count: WindowCount) -> Values:
    """Windowed layers by ``layer_types`` where given, else the family's rule."""
    size = read.number("sliding_window", "attention_chunk_size", default=0.0)
    if not size or read.raw("use_sliding_window") is False:
        return {}
    kinds = read.items("layer_types")
    if kinds:
        windowed = sum(kind in WINDOWED for kind in kinds)
    else:
        windowed = count(read, values["num_layers"])
    if not windowed:
        return {}
    return {
        "num_window_layers": float(windowed),
        "window_size": size,
        "chunked_attention": float(bool(read.raw("attention_chunk_size"))),
    }


def no_layer(_: ConfigReader, __: float) -> float:
    """No layer has a window."""
    return 0.0


def every_layer(_: ConfigReader, layers: float) -> float:
    """Every layer has a window."""
    return layers


def alternate_layers(_: ConfigReader, layers: float) -> float:
    """Gemma 2, gpt-oss: every second layer, the first included."""
    return float((int(layers) + 1) // 2)


def upper_layers(read: ConfigReader, layers: float) -> float:
    """Qwen: the layers from ``max_window_layers`` on."""
    return max(layers - read.number("max_window_layers", default=layers), 0.0)


def five_of_six_layers(read: ConfigReader, layers: float) -> float:
    """Gemma 3: one global layer after every five local ones."""
    period = read.number("sliding_window_pattern", default=6.0)
    return layers - layers // max(period, 1.0)


def rotary_layers(read: ConfigReader, layers: float) -> float:
    """Llama 4: chunked attention in all but every fourth layer."""
    flags = read.items("no_rope_layers")
    if flags:
        return float(sum(flag == 1 for flag in flags))
    period = read.number("no_rope_layer_interval", default=4.0)
    return layers - layers // max(period, 1.0)
