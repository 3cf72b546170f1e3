"""How well does software use the chip? Efficiencies and overheads of a stack.

Fitted to measured rows by ``calibrate``; one stack for all chips when chips
are compared, the chip's own when a measurement is predicted.
"""

from codesign.core.quantities import (
    Bytes,
    Count,
    Factor,
    Fraction,
    Seconds,
    SecondsPerToken,
    Tokens,
)
from codesign.core.record import Record


class Stack(Record):
    """Efficiencies (shares of a rate) and overheads (seconds per occurrence).

    Host times do not scale with the chip; kernel times scale with 1 / clock.
    ``time_factor_16bit`` and its kin multiply GEMM time per format class: 16 bit; 8 bit
    with a scale per tensor or channel, or per block of weights; MXFP4 (``4bit``),
    NVFP4 and 4-bit integers in groups (``model/formats.py`` tells which is which).
    ``expert_factor`` in addition that of routed experts, ``attention_factor``
    the time of attention over the KV cache, ``prompt_attention_factor`` in addition
    that of prompts. Energy factors compare the joules of
    served work with those of the single kernels that anchor a chip: products
    that are executed but not useful, traffic beyond that of the operators.
    A step with prompts scans ``scan_padding`` tokens of recurrence beyond its own.
    ``request_time`` and, per token of the prompt, ``prompt_token_time`` pass outside of
    steps before a first token is seen: network, tokenizer, scheduler, streaming.
    ``maturity`` multiplies the time of every step: 1 for software at home on its
    chip, 1.25 +- 0.15 for that of another chip soon after a new one is out.
    """

    compute_efficiency: Fraction
    dram_efficiency: Fraction
    sram_efficiency: Fraction
    link_efficiency: Fraction
    attention_factor: Factor
    prompt_attention_factor: Factor
    expert_factor: Factor
    time_factor_16bit: Factor
    time_factor_8bit: Factor
    time_factor_8bit_block: Factor
    time_factor_4bit: Factor
    time_factor_nvfp4: Factor
    time_factor_int4: Factor
    compute_energy_factor: Factor
    traffic_energy_factor: Factor
    active_power_factor: Factor
    kernel_time: Seconds
    expert_kernel_time: Seconds
    layer_time: Seconds
    expert_layer_time: Seconds
    collective_time: Seconds
    step_time: Seconds
    sequence_time: Seconds
    sampling_traffic: Bytes
    scan_padding: Tokens
    graph_tokens: Tokens
    chunked_layer_time: Seconds
    eager_layer_time: Seconds
    eager_expert_layer_time: Seconds
    request_time: Seconds
    prompt_token_time: SecondsPerToken
    chunk_tokens: Tokens
    prefill_clumping: Factor
    memory_fraction: Fraction
    kv_block: Tokens
    routing_skew: Count
    maturity: Factor
