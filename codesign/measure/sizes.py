"""Which whole numbers and which kind of layer does a program need?

Transformer -> ``Sizes``, and the plan of its layers: mixer and FFN of each.
"""

from dataclasses import dataclass, fields, replace

from codesign.core.errors import InputError
from codesign.core.paths import get_path
from codesign.model.transformer import Transformer


@dataclass(frozen=True)
class Sizes:
    """Shape of a transformer in whole numbers, named as its parameters."""

    hidden_size: int
    num_layers: int
    num_ffn_layers: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    ffn_size: int
    num_ffn_matrices: int
    vocab_size: int
    tied_embeddings: int
    num_experts: int
    num_active_experts: int
    expert_size: int
    shared_size: int
    num_dense_layers: int
    num_window_layers: int
    window_size: int
    gated_attention: int
    latent_fraction: int
    query_rank: int
    kv_rank: int
    rope_size: int
    nope_size: int
    value_size: int
    recurrent_layers: int
    inner_size: int
    state_size: int
    num_groups: int
    num_mixer_heads: int
    conv_size: int


PATHS = {
    **{name: f"latent.{name}" for name in ("query_rank", "kv_rank")},
    **{name: f"latent.{name}" for name in ("rope_size", "nope_size", "value_size")},
    **{name: f"recurrent.{name}" for name in ("inner_size", "state_size")},
    **{name: f"recurrent.{name}" for name in ("num_groups", "conv_size")},
    "recurrent_layers": "recurrent.num_layers",
    "num_mixer_heads": "recurrent.num_heads",
}


@dataclass(frozen=True)
class LayerPlan:
    """Mixer of one layer (grouped, latent, recurrent) and the FFN after it.

    ``window`` is 0 for full attention; ``feedforward`` is dense, experts or none.
    """

    mixer: str
    window: int
    feedforward: str


def sizes_of(model: Transformer) -> Sizes:
    """Whole numbers of a model.

    Raises:
        InputError: a relaxed model with a fraction of a layer or head.
    """
    values: dict[str, int] = {}
    for field in fields(Sizes):
        path = PATHS.get(field.name, field.name)
        value = float(get_path(model, path))
        if value != round(value):
            raise InputError(f"model.{path} is {value:g}; a program needs an integer.")
        values[field.name] = round(value)
    return Sizes(**values)


def shortened(sizes: Sizes, num_layers: int) -> Sizes:
    """The same model with fewer layers, of each kind in proportion."""
    share = num_layers / sizes.num_layers

    def part(number: int) -> int:
        return min(num_layers, round(number * share + 0.25)) if number else 0

    return replace(
        sizes,
        num_layers=num_layers,
        num_ffn_layers=max(1, part(sizes.num_ffn_layers)),
        num_dense_layers=part(sizes.num_dense_layers),
        num_window_layers=part(sizes.num_window_layers),
        recurrent_layers=part(sizes.recurrent_layers),
    )


def layer_plans(sizes: Sizes) -> tuple[LayerPlan, ...]:
    """Kind of every layer; counts are those of the model, the order is ours.

    Recurrent layers come first, then attention with a window, then full
    attention; dense FFNs come before experts and layers without FFN last.
    """
    plans: list[LayerPlan] = []
    attention = "latent" if sizes.latent_fraction else "grouped"
    for layer in range(sizes.num_layers):
        recurrent = layer < sizes.recurrent_layers
        windowed = layer - sizes.recurrent_layers < sizes.num_window_layers
        plans.append(
            LayerPlan(
                mixer="recurrent" if recurrent else attention,
                window=sizes.window_size if windowed and not recurrent else 0,
                feedforward=_feedforward(sizes, layer),
            )
        )
    return tuple(plans)


def _feedforward(sizes: Sizes, layer: int) -> str:
    if layer >= sizes.num_ffn_layers:
        return "none"
    dense = sizes.num_experts <= 1 or layer < sizes.num_dense_layers
    return "dense" if dense else "experts"
