"""Why can a design not run or be built, and which change would mend it?

Design and its cost -> a sentence per broken limit; for memory, changes of which
each is enough by itself, found by evaluating them.
"""

import math
from collections.abc import Iterator

import jax.numpy as jnp

from codesign.config.faults import design_faults
from codesign.config.units import format_quantity
from codesign.core.paths import set_path
from codesign.core.quantities import Unit
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.serving.design import Design
from codesign.study.line import KEPT, violated_limits

BYTES = Unit("B")
NARROWER_BITS = (8.0, 4.0)
MOST_DOUBLINGS = 6

WORDS = {
    "decode_power": "decode steps draw more than the power limit at any clock",
    "prefill_power": "steps with prefill draw more than the power limit at any clock",
    "power_density": "the TDP over the area is more than can be cooled",
    "reticle": "a die is larger than the reticle",
    "shoreline": "memory and links need more of the die's edge than there is",
    "dram_pins": "the DRAM bandwidth is more than its stacks deliver",
    "stack_height": "stacks are taller than can be bonded",
    "pin_speed": "a stack is faster than its generation of memory",
    "stack_area": "stacks on the die cover more than its area",
    "adc_bits": "sums of the analog arrays need more bits than their ADCs have",
    "voltage": "the voltage is above what the style allows",
    "tensor_heads": "tensor parallelism exceeds the number of attention heads",
    "chips": "parallelism needs more chips than there are",
    "expert_ranks": "expert parallelism exceeds the chips of a stage",
    "active_experts": "more experts are active than exist",
}


def warnings(cost: Cost) -> list[str]:
    """One sentence per broken limit other than memory."""
    return [
        f"Warning: {WORDS.get(name, name)} (limit {name}, {ratio:.4g} times what is "
        "allowed). The numbers hold only if that can be built."
        for name, ratio in violated_limits(cost).items()
        if name != "memory"
    ]


def memory_text(design: Design, cost: Cost) -> str:
    """What does not fit, and changes of which each is enough by itself."""
    held = cost.memory
    peak = float(held.used - held.weight_bytes)
    sizes = [
        format_quantity(float(size), BYTES)
        for size in (held.weight_bytes, peak, held.available)
    ]
    lead = (
        f"Does not fit: weights {sizes[0]} + KV {sizes[1]} > {sizes[2]} per chip "
        f"(limit memory; KV at its peak, batch {float(cost.batch):.4g})."
    )
    fixes = list(_fixes(design, cost))
    if not fixes:
        return f"{lead} More memory, fewer bits or a smaller batch would mend it."
    return f"{lead} Enough by itself: {'; or '.join(fixes)}."


def _fixes(design: Design, cost: Cost) -> Iterator[str]:
    yield from _lower_load(design, cost)
    yield from _fewer_bits(design)
    yield from _more_chips(design)
    yield from _more_memory(design, cost)


def _lower_load(design: Design, cost: Cost) -> Iterator[str]:
    largest = math.floor(float(cost.max_batch) * (1 + KEPT))
    if largest < 1:
        return
    closed = _with(design, **{"request.rate": 0.0, "deployment.batch": float(largest)})
    if not _fits(closed):
        return
    if not float(design.request.rate) > 0:
        yield f"--batch {largest}"
        return
    served = float(evaluate(closed).throughput) / float(design.request.output_length)
    yield f'--rate "{_floor(served)} req/s"'


def _fewer_bits(design: Design) -> Iterator[str]:
    for bits in NARROWER_BITS:
        names = [
            name
            for name in ("weight_bits", "kv_bits")
            if float(getattr(design.model, name)) > bits
        ]
        changed = _with(design, **{f"model.{name}": bits for name in names})
        if names and _fits(changed):
            yield " ".join(f"--set model.{name}={bits:g}" for name in names)
            return


def _more_chips(design: Design) -> Iterator[str]:
    chips = float(design.system.num_chips)
    tensor = float(design.deployment.tensor_parallel)
    for power in range(1, MOST_DOUBLINGS + 1):
        grow = 2.0**power
        changed = _with(
            design,
            **{
                "system.num_chips": chips * grow,
                "deployment.tensor_parallel": tensor * grow,
            },
        )
        if not design_faults(changed) and _fits(changed):
            yield f"--num-chips {chips * grow:g} --tensor-parallel {tensor * grow:g}"
            return


def _more_memory(design: Design, cost: Cost) -> Iterator[str]:
    if not float(design.chip.dram.stacks) > 0:
        return
    lacking = float(cost.memory.used - cost.memory.available)
    each = lacking / float(design.stack.memory_fraction * design.chip.dram.stacks)
    wanted = float(design.chip.dram.stack_capacity) + each
    text = f"{math.ceil(wanted / 1e8) / 10:g} GB"
    yield f'--set chip.dram.stack_capacity="{text}"'


def _with(design: Design, **values: float) -> Design:
    for path, value in values.items():
        design = set_path(design, path, value=jnp.asarray(value, jnp.float64))
    return design


def _fits(design: Design) -> bool:
    return float(evaluate(design).limits.memory) <= KEPT


def _floor(value: float) -> str:
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return f"{math.floor(value / step) * step:.3g}"
