"""How does a family of published models write its FFN and experts?

Keys of a ``config.json`` -> fields of a Transformer that describe what follows
each mixer: dense, routed and shared widths, and how many layers have which.
"""

from codesign.model.mixers import block_pattern
from codesign.model.reader import ConfigReader, Values


def dense_ffn(read: ConfigReader, _: Values) -> Values:
    """A gated FFN in every layer."""
    return {"ffn_size": read.size("intermediate_size")}


def plain_ffn(read: ConfigReader, _: Values) -> Values:
    """An FFN of two matrices in every layer."""
    return {"ffn_size": read.size("intermediate_size"), "num_ffn_matrices": 2.0}


def unset_ffn(read: ConfigReader, values: Values) -> Values:
    """GPT-J: two matrices, four times as wide as the hidden state unless said."""
    width = read.number("intermediate_size", default=4.0 * values["hidden_size"])
    return {"ffn_size": width, "num_ffn_matrices": 2.0}


def mamba_hybrid_ffn(read: ConfigReader, _: Values) -> Values:
    """Nemotron-H: dense (-) and expert (E) blocks of the pattern."""
    pattern = block_pattern(read)
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


def every_layer_experts(read: ConfigReader, _: Values) -> Values:
    """Experts in every layer, as wide as ``intermediate_size``."""
    return _experts(read, dense=0.0, size="intermediate_size")


def qwen_experts(read: ConfigReader, values: Values) -> Values:
    """Qwen: experts in every n-th layer but those of ``mlp_only_layers``."""
    step = read.step("decoder_sparse_step")
    dense_only = read.items("mlp_only_layers")
    layers = range(int(values["num_layers"]))
    dense = sum((i + 1) % step != 0 or i in dense_only for i in layers)
    experts = _experts(read, dense=dense, size="moe_intermediate_size")
    experts["shared_size"] = read.number("shared_expert_intermediate_size", default=0.0)
    return experts | (dense_ffn(read, values) if dense else {})


def deepseek_experts(read: ConfigReader, values: Values) -> Values:
    """DeepSeek, GLM: dense layers first, then experts and shared ones."""
    first = read.number("first_k_dense_replace")
    step = read.step("moe_layer_freq")
    layers = range(int(values["num_layers"]))
    dense = sum(i < first or i % step != 0 for i in layers)
    experts = _experts(read, dense=dense, size="moe_intermediate_size")
    num_shared = read.number("n_shared_experts", default=0.0)
    experts["shared_size"] = num_shared * experts["expert_size"]
    return experts | (dense_ffn(read, values) if dense else {})


def llama4_experts(read: ConfigReader, values: Values) -> Values:
    """Llama 4: experts in every n-th layer, one of them shared."""
    step = read.step("interleave_moe_layer_step")
    dense = values["num_layers"] - int(values["num_layers"]) // step
    experts = _experts(read, dense=dense, size="intermediate_size")
    experts["shared_size"] = experts["expert_size"]
    if dense:
        experts["ffn_size"] = read.number("intermediate_size_mlp")
    return experts
