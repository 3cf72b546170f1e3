"""How far is the roofline of one operator from a single measured kernel?

Rows of measured kernels -> time and power by the operator table and roofline that
price whole steps, and their errors by kind, chip and format.
"""

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from codesign.calibrate.score import Score, relative_error, score
from codesign.config.chips import chip_info, load_chip, load_system
from codesign.config.kernels import ELEMENTWISE, KernelRow
from codesign.config.rows import RowFault
from codesign.config.stacks import load_stack
from codesign.config.technology import load_technology
from codesign.core.checks import check_x64
from codesign.core.compiler import jitted
from codesign.core.errors import CodesignError
from codesign.core.paths import get_path, set_path
from codesign.core.quantities import Bytes, Count, Factor, Flop, Seconds, Watts
from codesign.core.record import Record, as_float64
from codesign.core.solve import rising_root
from codesign.cost.residency import Memory
from codesign.cost.step import step_cost, step_detail, table_work
from codesign.hardware.silicon import silicon
from codesign.model.huggingface import build_transformer
from codesign.model.transformer import Transformer
from codesign.operators import attention, collectives, experts, feedforward
from codesign.operators.phases import KINDS, Step, operator_table
from codesign.operators.table import RowKind
from codesign.serving.deployment import Deployment
from codesign.serving.design import Design
from codesign.serving.load import StepTokens
from codesign.serving.request import Request

PARTS = ("compute", "memory", "fixed")
CHUNK = 2048  # kernels evaluated at once; the last chunk is filled up with copies
GRAPH_SHARE = 0.6  # of a kernel's fixed time that remains inside a captured graph
SERVED_MESSAGE = 4.5e-6  # seconds that serving adds to a collective
LEAST_DRIVE = 0.05  # of the minimum voltage, as the governor of a step
REDUCED = {"all-gather": 0.5, "reduce-scatter": 0.5, "alltoall": 0.5}
"""Bytes of other collectives over those of an all-reduce of as many bytes."""
NEUTRAL = {
    "attention_factor": 1.0,
    "expert_factor": 1.0,
    "time_factor_16bit": 1.0,
    "time_factor_8bit": 1.0,
    "time_factor_4bit": 1.0,
    "compute_energy_factor": 1.0,
    "traffic_energy_factor": 1.0,
    "active_power_factor": 1.0,
    "layer_time": 0.0,
    "expert_layer_time": 0.0,
    "step_time": 0.0,
    "sequence_time": 0.0,
    "graph_tokens": 0.0,
    "maturity": 1.0,
}
"""A stack without what serving adds to single kernels."""
ELEMENT_BYTES = 2.0  # operands between kernels are in 16 bit
IN_AND_OUT = 2.0
COLD = 2.0  # times the cache: repeats of a smaller operand do not draw DRAM power
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


class KernelCost(Record):
    """Time and power of a kernel, the parts of its time, and what it stores."""

    duration: Seconds
    power: Watts
    compute: Seconds
    memory: Seconds
    fixed: Seconds
    stored: Bytes
    cache: Bytes


@dataclass(frozen=True)
class KernelPrediction:
    """A measured kernel and its predicted cost."""

    row: KernelRow
    cost: KernelCost

    @property
    def bound(self) -> str:
        """The largest part of the time: compute, memory or fixed."""
        parts = {name: float(getattr(self.cost, name)) for name in PARTS}
        return max(parts, key=lambda name: parts[name])


@dataclass(frozen=True)
class KernelGroup:
    """Errors of the kernels of one kind, chip, software and format."""

    kind: str
    chip: str
    software: str
    format: str
    bound: str
    rows: int
    duration: Score
    power: Score


def predict_kernels(
    rows: Sequence[KernelRow],
) -> tuple[tuple[KernelPrediction, ...], tuple[RowFault, ...]]:
    """Time and power of single kernels, in their order, and rows without a chip.

    The stack is that of the chip without the factors and overheads of serving; a
    kernel alone shows its whole fixed time, of which a captured graph hides 0.4.
    Operands come from DRAM: a cache that held them since the last repeat feeds a
    small kernel hardly faster.
    """
    check_x64()
    found: dict[int, KernelPrediction] = {}
    faults: list[RowFault] = []
    by_chip: defaultdict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        by_chip[row.chip].append(place)
    for chip, places in by_chip.items():
        members = [rows[place] for place in places]
        try:
            host = _host(chip)
        except CodesignError as error:
            faults += [RowFault(line=row.line, message=str(error)) for row in members]
            continue
        found |= zip(places, _predict(members, host), strict=True)
    return tuple(found[place] for place in sorted(found)), tuple(faults)


def kernel_groups(
    predictions: Sequence[KernelPrediction], *, by_bound: bool = False
) -> tuple[KernelGroup, ...]:
    """Errors by kind, chip, software and format, and by what binds if asked."""
    groups: defaultdict[tuple[str, ...], list[KernelPrediction]] = defaultdict(list)
    for each in predictions:
        row = each.row
        bound = each.bound if by_bound else ""
        groups[(row.kind, row.chip, row.software, row.format, bound)].append(each)
    return tuple(
        KernelGroup(
            *key,
            rows=len(members),
            duration=duration_score(members),
            power=power_score(members),
        )
        for key, members in sorted(groups.items())
    )


def duration_score(predictions: Sequence[KernelPrediction]) -> Score:
    """Errors of time."""
    pairs = [(p.cost.duration, p.row.duration) for p in predictions]
    return score([relative_error(float(a), float(b)) for a, b in pairs])


def power_score(predictions: Sequence[KernelPrediction]) -> Score:
    """Errors of power, of kernels whose operand is larger than twice the cache."""
    cold = [p for p in predictions if p.cost.stored > COLD * p.cost.cache]
    pairs = [(p.cost.power, p.row.power) for p in cold]
    return score([relative_error(float(a), float(b)) for a, b in pairs])


@functools.cache
def _host(chip: str) -> Design:
    """A design on one chip; its model, degrees and step come from each kernel."""
    stack = load_stack(chip_info(chip).stack)
    bare: dict[str, Any] = dict(NEUTRAL)
    bare["kernel_time"] = stack.kernel_time / GRAPH_SHARE
    bare["collective_time"] = jnp.maximum(stack.collective_time - SERVED_MESSAGE, 0.0)
    loaded = load_chip(chip)
    one = {"prompt_length": 1.0, "output_length": 1.0, "output_variation": 0.0}
    return as_float64(
        Design(
            chip=loaded,
            system=load_system(chip, num_chips=8),
            model=build_transformer(ONES),
            deployment=Deployment(
                tensor_parallel=1.0,
                pipeline_parallel=1.0,
                expert_parallel=1.0,
                batch=1.0,
                power_limit=loaded.tdp,
                prefill_voltage=loaded.voltage,
                decode_voltage=loaded.voltage,
            ),
            request=Request(rate=0.0, prefix_hit_fraction=0.0, **one),
            stack=stack.replace(**bare),
            technology=load_technology(),
        )
    )


def _predict(rows: Sequence[KernelRow], host: Design) -> list[KernelPrediction]:
    stacked = _kernel_works(rows)
    places = np.minimum(np.arange(-(-len(rows) // CHUNK) * CHUNK), len(rows) - 1)
    parts: list[KernelCost] = []
    for at in places.reshape(-1, CHUNK):
        chunk = jax.tree.map(lambda leaf, at=at: leaf[at], stacked)
        parts.append(jax.device_get(_costs(chunk, host=host)))
    cost = jax.tree.map(lambda *x: np.concatenate(x)[: len(rows)], *parts)
    return [
        KernelPrediction(row, jax.tree.map(lambda leaf, i=i: leaf[i], cost))
        for i, row in enumerate(rows)
    ]


@jitted()
def _costs(chunk: KernelWork, *, host: Design) -> KernelCost:
    return jax.vmap(lambda kernel: _cost(kernel, host=host))(chunk)


def _cost(kernel: KernelWork, *, host: Design) -> KernelCost:
    """Cost of one kernel at the voltage that the power limit allows."""
    deployment = host.deployment.replace(
        tensor_parallel=kernel.tensor, expert_parallel=kernel.expert
    )
    design = host.replace(model=kernel.model, deployment=deployment)
    step = operator_table(design, kernel.step)
    plain = jnp.array([float(kind is feedforward.NORMS) for kind in KINDS])
    table = step.table.replace(
        count=step.table.count * kernel.chosen,
        traffic=kernel.chosen * kernel.traffic,
        vector_flops=jnp.where(plain > 0, kernel.vector_flops, step.table.vector_flops),
        message_bytes=step.table.message_bytes * kernel.message_factor,
    )
    step = Step(table=table, shard=step.shard)
    built = silicon(design.chip, design.technology)
    cold = Memory(**dict.fromkeys((f.name for f in fields(Memory)), jnp.zeros(())))
    done = table_work(design, step, built=built, memory=cold)

    def excess(drive: Array) -> Array:
        power = step_cost(design, done, built=built, drive=drive).power
        return jnp.asarray(power / design.chip.tdp - 1.0)

    low = LEAST_DRIVE * design.chip.style.min_voltage
    drive = rising_root(excess, low=low, high=design.chip.voltage)
    detail = step_detail(design, done, built=built, drive=drive)
    times, done_work = detail.times, done.traffic.work
    latency = jnp.sum(done_work.num_messages) * design.stack.collective_time
    launch = kernel.launches * design.stack.kernel_time
    return KernelCost(
        duration=detail.cost.duration + launch,
        power=detail.cost.power,
        compute=jnp.sum(jnp.maximum(times.compute, times.vector)),
        memory=jnp.sum(jnp.maximum(times.dram, times.sram) + times.link) - latency,
        fixed=jnp.sum(times.launch) + latency + launch,
        stored=jnp.sum(done_work.weight_bytes + done_work.cache_bytes),
        cache=(1 - design.chip.sram.tile_fraction) * design.chip.sram.capacity,
    )


Values = dict[str, float]


def _kernel_works(rows: Sequence[KernelRow]) -> KernelWork:
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
