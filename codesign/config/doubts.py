"""Which values behind a result did nobody measure or sell?

Study -> values of its chip that were announced, recalled or assumed, as plain data
for exports, and their places in a design.
"""

from collections.abc import Mapping
from typing import Any

from codesign.config.chips import chip_info
from codesign.config.design import locate
from codesign.config.records import unsure_facts
from codesign.config.study import Study
from codesign.core.errors import CodesignError

Doubts = dict[str, dict[str, Any]]

PLACES = {
    "parameters.node": "chip.node",
    "parameters.tdp": "chip.tdp",
    "parameters.clock": "chip.style.reference_clock",
    "parameters.peak_compute_16bit": "chip.compute.macs",
    "parameters.peak_compute_8bit": "chip.compute.rate_8bit",
    "parameters.peak_compute_4bit": "chip.compute.rate_4bit",
    "parameters.num_extra_formats": "chip.compute.num_extra_formats",
    "parameters.spare_factor": "chip.compute.spare_factor",
    "parameters.sparse_rate": "chip.compute.sparse_rate",
    "parameters.dies": "chip.dies",
    "parameters.stacks": "chip.dram.stacks",
    "parameters.stack_capacity": "chip.dram.stack_capacity",
    "parameters.dram_bandwidth": "chip.dram.bandwidth",
    "parameters.sram_capacity": "chip.sram.capacity",
    "parameters.sram_bandwidth": "chip.sram.bandwidth",
    "parameters.fast_fraction": "chip.sram.fast_fraction",
    "parameters.tile_fraction": "chip.sram.tile_fraction",
    "parameters.weight_fraction": "chip.sram.weight_fraction",
    "parameters.kv_fraction": "chip.sram.kv_fraction",
    "parameters.link_bandwidth": "chip.link.bandwidth",
    "parameters.store_capacity": "chip.store.capacity",
    "parameters.design_fraction": "chip.program.design_fraction",
    "parameters.volume": "chip.program.volume",
    "parameters.mask_fraction": "chip.program.mask_fraction",
    "parameters.model_volume": "chip.program.model_volume",
}
"""Where the parameters of a datasheet stand in a design."""


def study_doubts(study: Study) -> Doubts | None:
    """Announced, recalled and assumed values of the study's chip, by their path.

    None where no chip is named, as in a study around a design of records.
    """
    name = study.baseline_text.get("chip")
    if name is None:
        return None
    try:
        info = chip_info(locate(str(name), study.path.resolve().parent))
    except CodesignError:
        return None
    return unsure_facts(info.values)


def doubts_text(doubts: Mapping[str, Mapping[str, Any]] | None) -> str:
    """All of them in one cell: path and status.

    Example:
        >>> doubts_text({"parameters.tdp": {"status": "recalled"}})
        'parameters.tdp recalled'
    """
    if doubts is None:
        return "not known: no chip is named"
    return "; ".join(f"{path} {fact['status']}" for path, fact in doubts.items())


def doubtful_paths(doubts: Mapping[str, Any] | None) -> dict[str, str]:
    """Status of doubtful values by their place in a design."""
    known = doubts or {}
    return {PLACES.get(path, path): str(known[path]["status"]) for path in known}
