"""Which operators run in one step? The whole table, for any kind of step.

Design and step -> operator table, kinds of its rows, and the chip's shard.
One function serves prefill, decode and mixed steps: they differ in tokens.
"""

from codesign.core.record import Record
from codesign.operators import attention, collectives, experts, feedforward, recurrent
from codesign.operators.attention import attention_rows
from codesign.operators.collectives import collective_rows
from codesign.operators.experts import expert_rows
from codesign.operators.feedforward import feedforward_rows, token_rows
from codesign.operators.recurrent import recurrent_rows
from codesign.operators.shard import Shard, shard
from codesign.operators.table import OperatorTable, RowKind, stack_rows
from codesign.serving.design import Design
from codesign.serving.load import StepTokens


class Step(Record):
    """Operators of one step on one chip; its rows have the kinds ``KINDS``."""

    table: OperatorTable
    shard: Shard


KINDS: tuple[RowKind, ...] = (
    attention.QKV,
    attention.OUTPUT,
    attention.DECODE,
    attention.DECODE_WINDOW,
    attention.PREFILL,
    attention.PREFILL_WINDOW,
    attention.LATENT_DOWN,
    attention.LATENT_QUERY,
    attention.LATENT_ABSORB,
    attention.LATENT_OUTPUT,
    attention.LATENT_DECODE,
    attention.LATENT_PREFILL,
    feedforward.FFN_IN,
    feedforward.FFN_OUT,
    experts.ROUTER,
    experts.EXPERT_IN,
    experts.EXPERT_OUT,
    experts.SHARED_IN,
    experts.SHARED_OUT,
    recurrent.RECURRENT_IN,
    recurrent.RECURRENT_OUT,
    recurrent.RECURRENT_STATE,
    feedforward.NORMS,
    feedforward.EMBEDDING,
    feedforward.HEAD,
    feedforward.SAMPLING,
    collectives.ATTENTION_REDUCE,
    collectives.FFN_REDUCE,
    collectives.EXPERT_EXCHANGE,
    collectives.STAGE_SEND,
)


def operator_table(design: Design, step: StepTokens) -> Step:
    """Operators of one step of one pipeline stage on one chip."""
    model = design.model
    part = shard(design, step)
    rows = [
        *attention_rows(model, part),
        *feedforward_rows(model, part),
        *expert_rows(model, part, skew=design.stack.routing_skew),
        *recurrent_rows(model, part, padding=design.stack.scan_padding),
        *token_rows(model, part, sampling_traffic=design.stack.sampling_traffic),
        *collective_rows(model, part),
    ]
    return Step(table=stack_rows(rows, KINDS), shard=part)
