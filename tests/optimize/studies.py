"""A small study that holds every kind of variable, and a search that is quick."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from typing import Any

import numpy as np
import pytest

TEXT = """\
name: small
baseline:
  chip: h100-sxm
  num_chips: 8
  model: llama-3-70b
  tensor_parallel: 8
  batch: 64
  tune: deployment
request: {prompt_length: 1024, output_length: 256}
free:
  chip.dram.stacks:           {min: 2, max: 8, integer: true}
  chip.dram.bandwidth:        {min: 1 TB/s, max: 6 TB/s}
  chip.compute.macs:          {min: 50e3, max: 1e6}
  chip.tdp:                   {min: 150 W, max: 1 kW}
  model.num_layers:           {min: 40, max: 120, integer: true}
  model.ffn_size:             {min: 8192, max: 65536, multiple_of: 256}
  model.weight_bits:          {choices: [4, 8, 16]}
  deployment.batch:           {min: 1, max: 512, integer: true}
  deployment.tensor_parallel: {choices: [2, 4, 8]}
  deployment.power_limit:     {min: 150 W, max: chip.tdp}
minimize: energy_per_token_server
subject_to:
  - time_per_output_token <= 30 ms
  - time_to_first_token <= 1 s
  - chip.area <= baseline
  - usd_per_token <= baseline
  - quality.gap <= 0
search: {starts: 16, seed: 0}
"""
ROUNDS, COPIES, LANES = 24, 16, 16


@contextmanager
def quick_search() -> Iterator[None]:
    """Short schedules and few trials; equal problems share their compilation.

    Nothing but the amount of work changes, and what is not compiled twice.
    """
    search, climbing = (
        import_module(f"codesign.optimize.{name}") for name in ("search", "ladder")
    )
    shorter: dict[str, Any] = {
        "GROUP": LANES,
        "POLISH_COPIES": COPIES,
        "POLISH_ROUNDS": ROUNDS,
        "SCALES": np.tile(np.geomspace(0.03, 1e-4, 8), ROUNDS // 8),
        "descender": cache(search.descender),
        "hard_evaluator": cache(search.hard_evaluator),
        "puller": cache(search.puller),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shorter.items():
            patch.setattr(search, name, value)
        schedule = partial(climbing.Schedule, rounds=8, steps=40)
        patch.setattr(climbing, "Schedule", schedule)
        yield
