"""What work is one measured kernel? A model of one layer that runs only its rows.

Rows of measured kernels -> sizes of that model and tokens of its step, as one record
with an axis of kernels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from codesign.config.kernels import ELEMENTWISE, KernelRow
from codesign.core.paths import get_path, set_path
from codesign.core.quantities import Bytes, Count, Factor, Flop
from codesign.core.record import Record, as_float64
from codesign.model.huggingface import build_transformer
from codesign.model.transformer import Transformer
from codesign.operators import attention, collectives, experts, feedforward
from codesign.operators.phases import KINDS
from codesign.operators.table import RowKind
from codesign.serving.load import StepTokens

REDUCED = {"all-gather": 0.5, "reduce-scatter": 0.5, "alltoall": 0.5}
"""Bytes of other collectives over those of an all-reduce of as many bytes."""
ELEMENT_BYTES = 2.0  # operands between kernels are in 16 bit
IN_AND_OUT = 2.0
ONES: dict[str, float] = dict.fromkeys(
    (
        "hidden_size",
        "num_layers",
        "num_heads",
        "num_kv_heads",
        "head_size",
        "ffn_size",
        "vocab_size",
    ),
    1.0,
)
"""A model of one layer in which every size is 1."""


class KernelWork(Record):
    """One kernel as a step of a model of one layer with one kind of row.

    ``chosen`` is 1 for rows of the table that the kernel runs. ``traffic`` are bytes
    that the table books elsewhere: what elementwise kernels move, and queries and
    outputs of attention, which a step counts among its elementwise work. ``launches``
    are those of elementwise kernels, which a step fuses with others.
    """

    model: Transformer
    tensor: Count
    expert: Count
    step: StepTokens
    chosen: Array
    message_factor: Factor
    traffic: Bytes
    vector_flops: Flop
    launches: Count


Values = dict[str, float]


def kernel_works(rows: Sequence[KernelRow]) -> KernelWork:
    """All kernels as one record with an axis of rows."""
    named = [_describe(row) for row in rows]
    base = jax.device_get(_unit_work())
    paths = sorted({path for values, _ in named for path in values})
    stacked = jax.tree.map(
        lambda leaf: np.broadcast_to(leaf, (len(rows), *np.shape(leaf))), base
    )
    for path in paths:
        usual = float(get_path(base, path))
        column: Any = np.array([values.get(path, usual) for values, _ in named])
        stacked = set_path(stacked, path, value=column)
    chosen = [[float(kind in kinds) for kind in KINDS] for _, kinds in named]
    return stacked.replace(chosen=np.array(chosen))


def loop_length(row: KernelRow) -> Count:
    """Terms of the longest sum that a core forms in turn.

    K of a product, positions attended, hidden and inner size of an expert; 0 for
    kernels that sum nothing.
    """
    size = row.shape
    if row.kind == "GEMM":
        return size["k"]
    if row.kind.endswith("attention"):
        return size["kv_len"]
    if row.kind == "experts":
        return size["hidden_size"] + size["inter_size"] / size["moe_tp_size"]
    return 0.0


def _unit_work() -> KernelWork:
    """A kernel of a model of one layer in which every size is 1."""
    zero = 0.0
    return as_float64(
        KernelWork(
            model=build_transformer(ONES),
            tensor=1.0,
            expert=1.0,
            step=StepTokens(
                sequences=zero,
                context=zero,
                prefill_tokens=zero,
                prompts=zero,
                prefill_context=zero,
            ),
            chosen=jnp.zeros(len(KINDS)),
            message_factor=1.0,
            traffic=zero,
            vector_flops=zero,
            launches=zero,
        )
    )


def _describe(row: KernelRow) -> tuple[Values, tuple[RowKind, ...]]:
    """Values of a kernel by path, and the kinds of rows that it runs."""
    if row.kind == "GEMM":
        values, kinds = _product(row.shape)
    elif row.kind.endswith("attention"):
        values, kinds = _attention(row.shape, prompts=row.kind.startswith("context"))
    elif row.kind == "experts":
        values, kinds = _experts(row.shape)
    elif row.kind in ELEMENTWISE:
        values, kinds = _elementwise(row.shape)
    else:
        values, kinds = _collective(row)
    bits = row.weight_bits
    return {
        **values,
        "model.weight_bits": float(np.floor(bits)),
        "model.scale_bits": float(bits - np.floor(bits)),
        "model.activation_bits": float(row.activation_bits),
        "model.kv_bits": float(row.kv_bits),
    }, kinds


def _product(size: Mapping[str, float]) -> tuple[Values, tuple[RowKind, ...]]:
    return {
        "model.hidden_size": size["n"],
        "model.ffn_size": size["k"],
        "step.sequences": size["m"],
    }, (feedforward.FFN_OUT,)


def _attention(
    size: Mapping[str, float], *, prompts: bool
) -> tuple[Values, tuple[RowKind, ...]]:
    batch, span = size["batch_size"], size["kv_len"]
    values = {
        "model.num_heads": size["num_heads"],
        "model.num_kv_heads": size["num_key_value_heads"],
        "model.head_size": size["head_dim"],
        "model.num_window_layers": float(size["window_size"] > 0),
        "model.window_size": size["window_size"],
    }
    queries = IN_AND_OUT * size["num_heads"] * size["head_dim"] * ELEMENT_BYTES
    if prompts:
        # The table reads keys and values of the mean context, half of the prompt.
        rest = size["num_key_value_heads"] * size["head_dim"] * ELEMENT_BYTES
        step = {
            "traffic": batch * span * (queries + rest),
            "step.prefill_tokens": batch * span,
            "step.prompts": batch,
            "step.prefill_context": span / 2,
        }
        return values | step, (attention.PREFILL, attention.PREFILL_WINDOW)
    step = {
        "traffic": batch * queries,
        "step.sequences": batch,
        "step.context": span,
    }
    return values | step, (attention.DECODE, attention.DECODE_WINDOW)


def _experts(size: Mapping[str, float]) -> tuple[Values, tuple[RowKind, ...]]:
    ranks = size["moe_ep_size"]
    return {
        "model.hidden_size": size["hidden_size"],
        "model.num_experts": size["num_experts"],
        "model.num_active_experts": size["topk"],
        "model.expert_size": size["inter_size"],
        "model.num_ffn_matrices": size.get("matrices", 3.0),
        "step.sequences": size["num_tokens"],
        "tensor": ranks * size["moe_tp_size"],
        "expert": ranks,
    }, (experts.EXPERT_IN, experts.EXPERT_OUT)


def _collective(row: KernelRow) -> tuple[Values, tuple[RowKind, ...]]:
    return {
        "model.hidden_size": row.shape["bytes"] / collectives.ELEMENT_BYTES,
        "step.sequences": 1.0,
        "tensor": row.shape["num_gpus"],
        "message_factor": REDUCED.get(row.kind.partition(",")[0], 1.0),
    }, (collectives.ATTENTION_REDUCE,)


def _elementwise(size: Mapping[str, float]) -> tuple[Values, tuple[RowKind, ...]]:
    return {
        "step.sequences": 1.0,
        "traffic": IN_AND_OUT * ELEMENT_BYTES * size["elements"],
        "vector_flops": attention.SOFTMAX_FLOPS * size["elements"],
        "launches": 1.0,
    }, (feedforward.NORMS,)
