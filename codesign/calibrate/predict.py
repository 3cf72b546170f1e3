"""What does the model predict for a measured serving run?

Measured rows and the models that they served -> one prediction per row, with
the load of the measured window instead of a steady state.
"""

import difflib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from codesign.config.chips import chip_info, load_chip, load_stack, load_system
from codesign.config.design import design_faults
from codesign.config.models import load_model, model_from_row
from codesign.config.rows import MeasuredRow, RowFault
from codesign.config.technology import load_technology
from codesign.core.checks import check_x64
from codesign.core.errors import CodesignError, InputError, UnknownNameError
from codesign.core.quantities import (
    Bits,
    Count,
    Fraction,
    JoulesPerToken,
    Seconds,
    Watts,
)
from codesign.core.record import Record
from codesign.cost.evaluate import evaluate
from codesign.hardware.chip import Chip, System
from codesign.model.transformer import Transformer
from codesign.serving.deployment import Deployment
from codesign.serving.design import Design
from codesign.serving.load import Load
from codesign.serving.request import Request
from codesign.serving.stack import Stack
from codesign.technology.constants import Technology

CHUNK = 64  # rows evaluated at once; the last chunk is filled up with copies
HIT_RECOMPUTED = 16.0  # tokens of a cached prompt computed anew: its last KV block
FULL_BITS = 16.0
BLOCK_BITS = 8.0  # formats narrower than this share a scale between elements
MXFP4_BITS = 4.25  # its checkpoints quantise experts only, the rest stays 16 bit


class Forecast(Record):
    """Metrics of one run that were also measured, and the memory it needs.

    ``static_fraction`` is the share of the energy that grows with time alone.
    """

    inter_token_latency: Seconds
    step_time: Seconds
    power: Watts
    energy_per_token: JoulesPerToken
    static_fraction: Fraction
    memory_fraction: Fraction


@dataclass(frozen=True)
class Prediction:
    """A measured row, what the model says of it, and the class of its model.

    ``power_at_step`` is the power of the same work spread over the measured
    step time, which tells errors of power from those of time.
    """

    row: MeasuredRow
    kind: str
    inter_token_latency: Seconds
    step_time: Seconds
    power: Watts
    power_at_step: Watts
    energy_per_token: JoulesPerToken
    memory_fraction: Fraction


@dataclass(frozen=True)
class Predictions:
    """A prediction of each row that allows one, and the rows that do not."""

    done: tuple[Prediction, ...]
    faults: tuple[RowFault, ...]


def predict_rows(
    rows: Sequence[MeasuredRow], models: Mapping[str, Mapping[str, str]]
) -> Predictions:
    """Predictions of measured rows, in their order.

    ``models`` holds rows of a table of models by name; a model that is not in
    it is looked up among the presets. Chip, stack and system are those of the
    row's chip, found by name or alias. Nothing is fitted.

    Assumes: the chip was allowed its full TDP.
    """
    check_x64()
    catalogue = _Catalogue(models)
    designs: list[Design] = []
    kept: list[MeasuredRow] = []
    faults: list[RowFault] = []
    for row in rows:
        try:
            designs.append(catalogue.design(row))
        except CodesignError as error:
            faults.append(RowFault(line=row.line, message=str(error)))
        else:
            kept.append(row)
    loads = [
        window_load(row, recurrent=bool(design.model.recurrent.num_layers > 0))
        for row, design in zip(kept, designs, strict=True)
    ]
    found = _evaluate_all(designs, loads, technology=catalogue.technology)
    done = [
        _prediction(row, values, design=design)
        for row, design, values in zip(kept, designs, found, strict=True)
    ]
    return Predictions(done=tuple(done), faults=tuple(faults))


def window_load(row: MeasuredRow, *, recurrent: bool) -> Load:
    """Load of one attention replica in the measured window.

    context = prompt + age;  p = prompt u + 16 (1 - u) tokens computed of each
    prompt, the rest hits the prefix cache; prompts per step as measured.

    Assumes: a repeated prompt is in the cache except for its last block;
    models with recurrent layers have no prefix cache (u = 1); replicas share
    batch and prompts equally.
    """
    unique = 1.0 if recurrent else row.unique_fraction
    prompt = row.prompt_length
    computed = prompt * unique + min(HIT_RECOMPUTED, prompt) * (1 - unique)
    context = prompt + row.age
    return Load(
        sequences=row.batch / row.data_parallel,
        context=context,
        context_variation=row.age / np.sqrt(3.0) / context,
        prefills_per_step=row.prefills_per_step / row.data_parallel,
        prompt_tokens=computed,
        hit_tokens=prompt - computed,
        duty=1.0,
    )


def row_formats(row: MeasuredRow) -> dict[str, Bits]:
    """Format fields of a model as the row served it.

    Effective bits below 8 split into a number and its share of a block scale:
    4.25 is MXFP4 (4 + 0.25), of which attention stays in 16 bit.
    """
    bits = row.weight_bits
    blocks = bits < BLOCK_BITS
    return {
        "weight_bits": float(np.floor(bits)) if blocks else bits,
        "scale_bits": float(bits - np.floor(bits)) if blocks else 0.0,
        "activation_bits": row.activation_bits,
        "kv_bits": row.kv_bits,
        "min_attention_bits": FULL_BITS if bits == MXFP4_BITS else 0.0,
    }


def kind_of(model: Transformer) -> str:
    """Class of a model in the scorecard: dense or MoE, 16-bit or low-precision."""
    body = "dense" if model.num_experts <= 1 else "MoE"
    return f"{body} {'16-bit' if model.weight_bits >= FULL_BITS else 'low-precision'}"


@dataclass(frozen=True)
class _Host:
    """What all rows on one chip share."""

    chip: Chip
    stack: Stack


class _Catalogue:
    """Designs of rows; every chip and model is loaded once."""

    def __init__(self, models: Mapping[str, Mapping[str, str]]) -> None:
        self.models = models
        self.technology = load_technology()
        self.host = functools.cache(_load_host)
        self.system = functools.cache(_load_system)
        self.model = functools.cache(self._load_model)

    def design(self, row: MeasuredRow) -> Design:
        host = self.host(row.chip)
        model = self.model(row.model).replace(**row_formats(row))
        chip = host.chip
        design = Design(
            chip=chip,
            system=self.system(row.chip, float(row.num_chips)),
            model=model,
            deployment=Deployment(
                tensor_parallel=row.tensor_parallel,
                pipeline_parallel=row.pipeline_parallel,
                expert_parallel=_expert_ranks(row, model),
                batch=row.batch,
                power_limit=chip.tdp,
                prefill_voltage=chip.voltage,
                decode_voltage=chip.voltage,
            ),
            request=Request(
                prompt_length=row.prompt_length,
                output_length=row.output_length,
                output_variation=row.output_variation,
                rate=0.0,
                prefix_hit_fraction=0.0,
            ),
            stack=host.stack,
            technology=self.technology,
        )
        faults = design_faults(design)
        if faults:
            listed = "; ".join(f"{path}: {text}" for path, text in faults.items())
            raise InputError(listed)
        return design

    def _load_model(self, name: str) -> Transformer:
        if name in self.models:
            return jax.device_get(model_from_row(self.models[name]))
        try:
            return jax.device_get(load_model(name))
        except UnknownNameError as error:
            close = difflib.get_close_matches(name, list(self.models), n=3, cutoff=0.5)
            near = f" Close: {', '.join(close)}." if close else ""
            raise UnknownNameError(
                f"models: {name!r} is neither in the given table of "
                f"{len(self.models)} models nor a preset.{near}"
            ) from error


def _load_host(name: str) -> _Host:
    stack = load_stack(chip_info(name).stack)
    return _Host(chip=jax.device_get(load_chip(name)), stack=jax.device_get(stack))


def _load_system(name: str, num_chips: float) -> System:
    return jax.device_get(load_system(name, num_chips=num_chips))


def _expert_ranks(row: MeasuredRow, model: Transformer) -> Count:
    """Expert-parallel degree of a row, such that its expert group is complete.

    Chips of a group beyond the expert ranks split each expert's width, within
    the chips of one tensor-parallel group only; where attention is replicated,
    a wider group counts as expert-parallel altogether.
    """
    if model.num_experts <= 1:
        return 1.0
    group = row.expert_parallel * row.expert_tensor_parallel
    inside = group <= row.tensor_parallel
    return row.expert_parallel if inside else group


def _evaluate_all(
    designs: Sequence[Design], loads: Sequence[Load], *, technology: Technology
) -> list[Forecast]:
    """Forecast of every design, in chunks of one compiled shape."""
    found: list[Forecast] = []
    pairs = [
        (design.replace(technology=None), load)
        for design, load in zip(designs, loads, strict=True)
    ]
    for start in range(0, len(pairs), CHUNK):
        chunk = pairs[start : start + CHUNK]
        filled = chunk + chunk[-1:] * (CHUNK - len(chunk))
        stacked = jax.tree.map(lambda *v: np.stack(v).astype(np.float64), *filled)
        values = jax.device_get(_forecast_chunk(stacked, technology))
        found += [
            jax.tree.map(lambda leaf, i=i: float(leaf[i]), values)
            for i in range(len(chunk))
        ]
    return found


@jax.jit
def _forecast_chunk(chunk: tuple[Design, Load], technology: Technology) -> Any:
    def one(design: Design, load: Load) -> Forecast:
        cost = evaluate(design.replace(technology=technology), load=load)
        used = cost.memory.used / cost.memory.available
        return Forecast(
            inter_token_latency=cost.inter_token_latency,
            step_time=cost.time_per_output_token,
            power=cost.power,
            energy_per_token=cost.energy_per_token,
            static_fraction=cost.breakdown.energy.static / cost.energy_per_token,
            memory_fraction=used,
        )

    return jax.vmap(one)(*chunk)


def _prediction(row: MeasuredRow, values: Forecast, *, design: Design) -> Prediction:
    work = values.power * (1 - values.static_fraction) * values.step_time
    at_step = values.power * values.static_fraction + work / row.step_time
    latency = values.inter_token_latency if row.median_latency else values.step_time
    return Prediction(
        row=row,
        kind=kind_of(design.model),
        inter_token_latency=latency,
        step_time=values.step_time,
        power=values.power,
        power_at_step=min(at_step, float(design.chip.tdp)),
        energy_per_token=values.energy_per_token,
        memory_fraction=values.memory_fraction,
    )
