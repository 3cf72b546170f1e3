"""What do chips send each other in one step?

Model, shard of a step -> rows of messages: bytes per chip and their number.
"""

from codesign.core.smooth import saturate
from codesign.model.parameters import (
    num_attention_layers,
    num_dense_ffn_layers,
    num_expert_layers,
)
from codesign.model.transformer import Transformer
from codesign.operators.shard import Shard
from codesign.operators.table import Row, RowKind, row

ATTENTION_REDUCE = RowKind("all-reduce after attention", kernels=0)
FFN_REDUCE = RowKind("all-reduce after ffn", kernels=0)
EXPERT_EXCHANGE = RowKind("expert all-to-all", kernels=0)
STAGE_SEND = RowKind("pipeline send", kernels=0)

ELEMENT_BYTES = 2.0  # partial sums travel in 16 bit


def collective_rows(model: Transformer, shard: Shard) -> list[Row]:
    """All-reduces of tensor parallelism, all-to-all of experts, stage sends.

    all-reduce: 2 (t - 1) / t n d bytes per chip;  all-to-all: dispatch and
    combine of k copies, (e - 1) / e of them to other ranks, over the group.

    Assumes: ring or switch with equal bytes per chip; expert exchange replaces
    the reduction where experts are spread over more chips than attention.
    Source: docs/theory/collectives.md.
    """
    hidden = shard.tokens * model.hidden_size * ELEMENT_BYTES
    blocks = num_attention_layers(model) + model.recurrent.num_layers
    experts = num_expert_layers(model)
    spread = saturate(shard.expert_replicas - 1)
    reduces = num_dense_ffn_layers(model) + experts * (1 - spread)
    split = saturate(shard.tensor - 1)
    reduce = {
        "message_bytes": 2 * (shard.tensor - 1) / shard.tensor * hidden,
        "num_messages": split,
        "num_peers": shard.tensor,
    }
    group = shard.expert * shard.expert_tensor
    sent = 2 * (group - 1) / group * hidden / shard.tensor * model.num_active_experts
    staged = saturate(shard.pipeline - 1)
    return [
        row(ATTENTION_REDUCE, count=blocks * shard.layer_share, **reduce),
        row(FFN_REDUCE, count=reduces * shard.layer_share, **reduce),
        row(
            EXPERT_EXCHANGE,
            count=experts * spread * shard.layer_share,
            message_bytes=sent,
            num_messages=2.0,
            num_peers=group,
        ),
        row(
            STAGE_SEND,
            count=staged,
            message_bytes=hidden / shard.tensor,
            num_messages=1.0,
            num_peers=2.0,
        ),
    ]
