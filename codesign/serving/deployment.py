"""How are the chips of a system used? Parallelism, batch and power."""

from codesign.core.quantities import Count, Fraction, Volts, Watts
from codesign.core.record import Record


class Deployment(Record):
    """Placement of one model on a system.

    ``batch`` counts running sequences of all replicas together;
    num_chips / (tensor_parallel * pipeline_parallel) replicas share it.
    ``expert_parallel`` splits experts over ranks; the chips of an expert group
    beyond it split each expert's width. ``prefill_voltage`` and
    ``decode_voltage`` are the ceilings of the governor per kind of step
    (locked clocks): it goes below them where power would exceed the limit.
    Below the style's minimum they stand for a lower clock at constant voltage.
    With a draft model each step verifies ``draft_tokens`` guesses per sequence,
    each of which is right with the probability ``acceptance``; both are 0 without.
    """

    tensor_parallel: Count
    pipeline_parallel: Count
    expert_parallel: Count
    batch: Count
    power_limit: Watts
    prefill_voltage: Volts
    decode_voltage: Volts
    draft_tokens: Count = 0.0
    acceptance: Fraction = 0.0
