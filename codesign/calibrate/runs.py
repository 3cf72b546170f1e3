"""Which designs and loads are the measured serving runs?

Measured rows and the models that they served -> designs and loads of the
measured window as one batch.
"""

import difflib
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np

from codesign.calibrate.prefix_cache import cache_tokens, cached_share
from codesign.config.chips import load_chip, load_system
from codesign.config.design import design_faults
from codesign.config.models import load_model, model_from_row
from codesign.config.rows import MeasuredRow, RowFault
from codesign.config.servers import stack_of
from codesign.config.stacks import load_stack
from codesign.config.technology import load_technology
from codesign.core.checks import check_x64
from codesign.core.errors import CodesignError, InputError, UnknownNameError
from codesign.core.quantities import Bits, Count, Fraction
from codesign.hardware.chip import Chip, System
from codesign.model.formats import BLOCK_SCALE_BITS
from codesign.model.transformer import Transformer
from codesign.serving.deployment import Deployment
from codesign.serving.design import Design
from codesign.serving.load import Load
from codesign.serving.request import Request
from codesign.serving.stack import Stack
from codesign.technology.constants import Technology

HIT_RECOMPUTED = 16.0  # tokens of a cached prompt computed anew: its last KV block
FULL_BITS = 16.0
BLOCK_BITS = 8.0  # formats narrower than this share a scale between elements
MXFP4_BITS = 4.25  # its checkpoints quantise experts only, the rest stays 16 bit


@dataclass(frozen=True)
class Runs:
    """Measured rows as designs and loads, each leaf with an axis of rows."""

    rows: tuple[MeasuredRow, ...]
    designs: Design
    loads: Load
    technology: Technology

    @property
    def burst_shares(self) -> np.ndarray | None:
        """Share of requests that came at once, by row; None without first tokens."""
        known = [math.isfinite(row.time_to_first_token) for row in self.rows]
        if not any(known):
            return None
        return np.array([row.burst_share for row in self.rows])

    @property
    def kinds(self) -> tuple[str, ...]:
        """Class of the model of each row."""
        bits, experts = self.designs.model.weight_bits, self.designs.model.num_experts
        return tuple(
            _kind(num_experts=e, weight_bits=b)
            for e, b in zip(np.asarray(experts), np.asarray(bits), strict=True)
        )

    def take(self, index: Sequence[int]) -> "Runs":
        """The runs at the given places."""
        at = np.asarray(index, int)
        return Runs(
            rows=tuple(self.rows[i] for i in at),
            designs=jax.tree.map(lambda leaf: leaf[at], self.designs),
            loads=jax.tree.map(lambda leaf: leaf[at], self.loads),
            technology=self.technology,
        )


def gather_runs(
    rows: Sequence[MeasuredRow], models: Mapping[str, Mapping[str, str]]
) -> tuple[Runs | None, tuple[RowFault, ...]]:
    """Designs and loads of measured rows in their order, and the faulty rows.

    ``models`` holds rows of a table of models by name; a model that is not in
    it is looked up among the presets. Chip, stack and system are those of the
    row's chip, found by name or alias. None where no row is left.

    Assumes: the chip was allowed its full TDP.
    """
    check_x64()
    catalogue = _Catalogue(models)
    pairs: list[tuple[Design, Load]] = []
    kept: list[MeasuredRow] = []
    faults: list[RowFault] = []
    for row in rows:
        try:
            served = catalogue.served(row)
            design = catalogue.design(served)
        except CodesignError as error:
            faults.append(RowFault(line=row.line, message=str(error)))
            continue
        pairs.append((design.replace(technology=None), window_load(served)))
        kept.append(served)
    if not kept:
        return None, tuple(faults)
    designs, loads = jax.tree.map(
        lambda *leaves: np.stack(leaves).astype(np.float64), *pairs
    )
    runs = Runs(tuple(kept), designs, loads, technology=catalogue.technology)
    return _evicted(runs), tuple(faults)


def window_load(row: MeasuredRow, *, repeats_cached: Fraction = 1.0) -> Load:
    """Load of one attention replica in the measured window.

    new = prompt - shared;  context = new + age;  prompts per step as measured;
    p = new m + 16 (1 - m) tokens computed of each prompt with m = 1 - (1 - u) c: of the
    share 1 - u that came before, c (``repeats_cached``) hit the prefix cache

    Assumes: what neighbouring prompts share is in the cache, held and read once, since
    they run together; replicas share batch and prompts equally.
    """
    own = row.prompt_length - row.shared_length
    missed = 1.0 - (1.0 - row.unique_fraction) * repeats_cached
    computed = own * missed + min(HIT_RECOMPUTED, own) * (1 - missed)
    context = own + row.age
    return Load(
        sequences=row.batch / row.data_parallel,
        context=context,
        context_variation=row.age / np.sqrt(3.0) / context,
        prefills_per_step=row.prefills_per_step / row.data_parallel,
        prompt_tokens=computed,
        hit_tokens=row.prompt_length - computed,
        duty=1.0,
    )


def _evicted(runs: Runs) -> Runs:
    """The runs with prompts computed again whose blocks have left the cache."""
    places = [
        place
        for place, row in enumerate(runs.rows)
        if math.isfinite(row.distinct_prompts) and row.unique_fraction < 1
    ]
    if not places:
        return runs
    kept = runs.take(places)
    room = cache_tokens(kept.designs, kept.loads, technology=runs.technology)
    again = [
        window_load(row, repeats_cached=cached_share(row, room=float(tokens)))
        for row, tokens in zip(kept.rows, room, strict=True)
    ]
    changed = jax.tree.map(lambda *leaves: np.array(leaves, np.float64), *again)

    def put(leaf: np.ndarray, new: np.ndarray) -> np.ndarray:
        leaf = leaf.copy()
        leaf[places] = new
        return leaf

    return replace(runs, loads=jax.tree.map(put, runs.loads, changed))


def row_formats(row: MeasuredRow) -> dict[str, Bits]:
    """Format fields of a model as the row served it.

    Effective bits below 8 split into a number and its share of a block scale:
    4.25 is MXFP4 (4 + 0.25), of which attention stays in 16 bit. The small scale of
    8-bit weights in blocks tells their class of kernels.
    """
    bits = row.weight_bits
    blocks = bits < BLOCK_BITS
    scale = BLOCK_SCALE_BITS if row.block_scaled and bits == BLOCK_BITS else 0.0
    return {
        "weight_bits": float(np.floor(bits)) if blocks else bits,
        "scale_bits": float(bits - np.floor(bits)) if blocks else scale,
        "activation_bits": row.activation_bits,
        "kv_bits": row.kv_bits,
        "min_attention_bits": FULL_BITS if bits == MXFP4_BITS else 0.0,
    }


def kind_of(model: Transformer) -> str:
    """Class of a model in the scorecard: dense or MoE, 16-bit or low-precision."""
    return _kind(
        num_experts=float(model.num_experts), weight_bits=float(model.weight_bits)
    )


def _kind(*, num_experts: float, weight_bits: float) -> str:
    body = "dense" if num_experts <= 1 else "MoE"
    return f"{body} {'16-bit' if weight_bits >= FULL_BITS else 'low-precision'}"


class _Catalogue:
    """Designs of rows; every chip and model is loaded once."""

    def __init__(self, models: Mapping[str, Mapping[str, str]]) -> None:
        self.models = models
        self.technology = load_technology()
        self.chip = functools.cache(_load_chip)
        self.stack = functools.cache(_load_stack)
        self.system = functools.cache(_load_system)
        self.model = functools.cache(self._load_model)

    def served(self, row: MeasuredRow) -> MeasuredRow:
        """The row as its model was served.

        Models with recurrent layers have no prefix cache: they share nothing and
        compute every prompt.
        """
        if self.model(row.model).recurrent.num_layers == 0:
            return row
        return replace(row, shared_length=0.0, unique_fraction=1.0)

    def design(self, row: MeasuredRow) -> Design:
        chip = self.chip(row.chip)
        model = self.model(row.model).replace(**row_formats(row))
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
                prefix_hit_fraction=row.shared_length / row.prompt_length,
            ),
            stack=self.stack(stack_of(row)),
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


def _load_chip(name: str) -> Chip:
    return jax.device_get(load_chip(name))


def _load_stack(name: str) -> Stack:
    return jax.device_get(load_stack(name))


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
