"""What is impossible or illegal about a design?

Design, or many values at paths of one -> its faults by dotted path.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.config.overrides import SIGNED
from codesign.config.units import format_quantity
from codesign.core.paths import get_path, path_units
from codesign.core.quantities import Unit
from codesign.serving.design import Design, set_parameter

_WHOLE = (
    "system.num_chips",
    "deployment.tensor_parallel",
    "deployment.pipeline_parallel",
    "deployment.expert_parallel",
)
_POSITIVE = (
    *_WHOLE,
    "deployment.batch",
    "deployment.power_limit",
    "deployment.prefill_voltage",
    "deployment.decode_voltage",
    "request.prompt_length",
    "request.output_length",
    "system.domain_size",
    "technology.datacenter.utilization",
    "chip.program.volume",
    "chip.program.model_volume",
    "chip.store.rewrite_time",
    "chip.store.arrays.cells_per_byte",
    "chip.store.arrays.rows",
    "chip.store.arrays.cols_per_adc",
    "chip.store.arrays.input_bits",
    "chip.store.arrays.adc_bits",
    "chip.store.arrays.reference_node",
)
_STRUCTURE = (
    *_WHOLE,
    "model.num_layers",
    "model.num_heads",
    "model.num_experts",
    "request.prefix_hit_fraction",
    "chip.sram.tile_fraction",
    "chip.sram.weight_fraction",
    "chip.sram.kv_fraction",
)
"""Parameters that rules tie to each other."""
_SHARES = (".acceptance", "model.weight_density", "model.activation_density")
_ROUNDING = 1e-9


def design_faults(design: Design) -> dict[str, str]:
    """What is impossible or illegal about a design, by dotted path.

    Values must be finite, and not negative outside the anchor; shares lie in
    [0, 1]; degrees of parallelism are whole and divide what they split. Whether
    the model fits into memory is a limit of the cost, not a fault.
    """
    faults = _value_faults(design)
    if not set(_POSITIVE) & faults.keys():
        faults |= _placement_faults(design)
    return faults


def legal_points(
    design: Design, paths: Sequence[str], *, values: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which rows of values make a legal design when they stand at the paths.

    The same rules as ``design_faults`` for what changes; the rest of the design
    counts as legal.
    """
    units = path_units(Design)
    legal = np.all(np.isfinite(values), axis=1)
    for column, path in enumerate(paths):
        if not _value_fault(path, values[:, column], unit=units[path]):
            continue
        for row in np.nonzero(legal)[0]:
            one = values[row : row + 1, column]
            legal[row] = not _value_fault(path, one, unit=units[path])
    legal &= _dram_is_read(design, paths, values=values)
    chosen = [i for i, path in enumerate(paths) if path in _STRUCTURE]
    if not chosen:
        return legal
    combinations, place = np.unique(values[:, chosen], axis=0, return_inverse=True)
    sound = [
        legal[place.ravel() == i].any()
        and _is_placed(design, [paths[c] for c in chosen], values=row)
        for i, row in enumerate(combinations)
    ]
    return legal & np.asarray(sound)[place.ravel()]


def _dram_is_read(
    design: Design, paths: Sequence[str], *, values: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether stacks of memory have a bandwidth, by row."""
    stacks, bandwidth = (
        values[:, paths.index(path)] if path in paths else get_path(design, path)
        for path in ("chip.dram.stacks", "chip.dram.bandwidth")
    )
    return np.broadcast_to(
        (np.asarray(stacks) == 0) | (np.asarray(bandwidth) > 0), len(values)
    )


def _is_placed(design: Design, paths: Sequence[str], *, values: Any) -> bool:
    for path, value in zip(paths, values, strict=True):
        design = set_parameter(design, path, value=float(value))
    hits, sram = float(design.request.prefix_hit_fraction), design.chip.sram
    shares = float(sram.tile_fraction + sram.weight_fraction + sram.kv_fraction)
    return hits < 1 and shares <= 1 + _ROUNDING and not _placement_faults(design)


def _value_faults(design: Design) -> dict[str, str]:
    faults: dict[str, str] = {}
    for path, unit in path_units(Design).items():
        values = np.asarray(get_path(design, path), np.float64)
        fault = _value_fault(path, values, unit=unit)
        if fault:
            faults[path] = fault
    if float(design.request.prefix_hit_fraction) >= 1:
        message = "1 leaves no token to prefill; allowed is 0 to below 1."
        faults.setdefault("request.prefix_hit_fraction", message)
    if not _dram_is_read(design, (), values=np.zeros((1, 0)))[0]:
        message = f"0 with {float(design.chip.dram.stacks):g} stacks; name it, or none."
        faults.setdefault("chip.dram.bandwidth", message)
    sram = design.chip.sram
    shares = float(sram.tile_fraction + sram.weight_fraction + sram.kv_fraction)
    if shares > 1 + _ROUNDING:
        message = f"shares of tiles, weights and KV add up to {shares:g}; at most 1."
        faults.setdefault("chip.sram.tile_fraction", message)
    return faults


def _value_fault(path: str, values: np.ndarray, *, unit: Unit) -> str:
    lowest, highest = float(np.min(values)), float(np.max(values))
    if not np.all(np.isfinite(values)):
        return f"{values} is not a finite number."
    if path in _POSITIVE and lowest <= 0:
        return f"{format_quantity(lowest, unit)} is not positive."
    if lowest < 0 and not path.startswith(SIGNED):
        return f"{format_quantity(lowest, unit)} is negative; allowed is 0 or more."
    if path in _WHOLE and not lowest.is_integer():
        return f"{lowest:g} is not a whole number."
    if path.endswith(("_fraction", "_efficiency", *_SHARES)) and highest > 1:
        return f"{highest:g} is above 1; a fraction lies in [0, 1]."
    return ""


def _placement_faults(design: Design) -> dict[str, str]:
    faults: dict[str, str] = {}
    system, deployment, model = design.system, design.deployment, design.model
    chips, layers = int(system.num_chips), int(model.num_layers)
    tensor, stages = int(deployment.tensor_parallel), int(deployment.pipeline_parallel)
    expert, experts = int(deployment.expert_parallel), int(model.num_experts)
    heads = int(model.num_heads)
    if chips % (tensor * stages):
        faults["deployment.tensor_parallel"] = (
            f"tensor_parallel {tensor} x pipeline_parallel {stages} does not divide "
            f"num_chips {chips}. Divisors: {_divisors(chips)}."
        )
    elif heads % tensor:
        faults["deployment.tensor_parallel"] = (
            f"{tensor} does not divide num_heads {heads}. Divisors: {_divisors(heads)}."
        )
    if stages > layers:
        faults["deployment.pipeline_parallel"] = (
            f"{stages} stages are more than num_layers {layers}."
        )
    if expert > max(1, experts):
        faults["deployment.expert_parallel"] = (
            f"{expert} ranks are more than num_experts {experts}."
        )
    elif (chips // stages) % expert or max(tensor, expert) % min(tensor, expert):
        faults["deployment.expert_parallel"] = (
            f"{expert} ranks do not divide the {chips // stages} chips of a stage "
            f"into whole groups beside tensor_parallel {tensor}."
        )
    return faults


def _divisors(number: int) -> str:
    return ", ".join(str(n) for n in range(1, number + 1) if number % n == 0)
