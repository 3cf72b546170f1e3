"""A small study that holds every kind of variable, and a search that is quick."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codesign.config.question import Study
from codesign.config.study import load_study
from codesign.optimize.climber import Climber
from codesign.optimize.problem import Theta
from codesign.optimize.result import Rung
from codesign.optimize.search import Found, Search
from codesign.optimize.space import Floats

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
search: {starts: 32, seed: 0}
"""
SECTIONS = """
scenarios:
  judge: worst
  shared: [chip]
  cases:
    chat: {weight: 2}
    long: {request: {prompt_length: 4096, output_length: 128}}
robust: {over: [stack, quality], draws: 8, limits: 0.9}
split: {bandwidth: 50 GB/s, latency: 10 us, energy: 80 pJ/B}
"""
LISTED = """
  model.weight_bits:          {choices: [8, 16]}
  deployment.batch:           {min: 60, max: 68, integer: true}
  deployment.tensor_parallel: {choices: [4, 8]}
"""
FEW_STARTS = 16
TPOT = 0  # place of the limit on time per output token
CHIP = ("chip.", "system.", "deployment.")
EVERYTHING = (*CHIP, "model.")
TRIALS, LANES, LOOKED = 120, 16, 256
SCALES = np.tile(np.geomspace(0.03, 1e-4, 8), 3)


def load_small(folder: Path, *overrides: str) -> Study:
    """The small study, some of its entries changed."""
    return _load(folder, text=TEXT, overrides=overrides)


def load_listed(folder: Path, *overrides: str) -> Study:
    """The small study with a few variables, all of whose values are listed."""
    before, _, rest = TEXT.partition("free:\n")
    text = f"{before}free:{LISTED}{rest[rest.index('minimize') :]}"
    return _load(folder, text=text, overrides=overrides)


def load_many(folder: Path, *overrides: str) -> Study:
    """The small study with sections for many cases, two pools and draws."""
    few = f"search.starts={FEW_STARTS}"
    return _load(folder, text=TEXT + SECTIONS, overrides=[few, *overrides])


class StoppedError(Exception):
    """Stands for whatever ends a process."""


def stop_at(start: str, *, times: int = 1) -> Callable[[str], None]:
    """Progress that ends the process at a line of a kind."""
    seen = 0

    def tell(line: str) -> None:
        nonlocal seen
        seen += line.startswith(start)
        if seen >= times:
            raise StoppedError

    return tell


@contextmanager
def without_numbers(*, above: float) -> Iterator[None]:
    """Designs of a larger batch than given have no number on the hard model."""
    engine = import_module("codesign.optimize.engine").Engine
    constraints = engine.constraints

    def broken(*given: Any) -> tuple[Floats, Floats]:
        (searching, values, _), (objective, found) = given, constraints(*given)
        batch = [p.startswith("deployment.batch") for p in searching.space.paths]
        lost = (values[:, batch] > above).any(axis=1)
        found = np.where(lost[:, None], np.nan, found)
        return np.where(lost, np.nan, objective), found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "constraints", broken)
        yield


def _load(folder: Path, *, text: str, overrides: Sequence[str]) -> Study:
    path = folder / "small.yaml"
    path.write_text(text, encoding="utf-8")
    return load_study(path, overrides=overrides)


def limit(metric: str, side: str) -> str:
    """Override of the study's limits, one right side changed."""
    sides = {
        "time_per_output_token": "30 ms",
        "time_to_first_token": "1 s",
        "chip.area": "baseline",
        "usd_per_token": "baseline",
        "quality.gap": "0",
    }
    texts = [f'"{name} <= {right}"' for name, right in (sides | {metric: side}).items()]
    return f"subject_to=[{', '.join(texts)}]"


@contextmanager
def quick_search() -> Iterator[None]:
    """Short schedules and few trials.

    The method stays as it is, only the amount of its work changes.
    """
    engine, search, climbing, tracing, relaxing = (
        import_module(f"codesign.optimize.{name}")
        for name in ("engine", "search", "climber", "pareto", "relax")
    )
    changes = {
        engine: {"GROUP": LANES, "CHUNK": LANES},
        search: {
            "GROUP": LANES,
            "LOOKED": LOOKED,
            "POLISH_TRIALS": TRIALS,
            "SCALES": SCALES,
        },
        tracing: {"SCALES": SCALES, "ANCHORS": 2},
        relaxing: {"SCALES": SCALES, "TRIALS": 4 * TRIALS, "LANES": LANES // 2},
    }
    schedule = partial(import_module("codesign.optimize.lagrangian").Schedule, rounds=8)
    with pytest.MonkeyPatch.context() as patch:
        for module, values in changes.items():
            for name, value in values.items():
                patch.setattr(module, name, value)
        patch.setattr(climbing, "Schedule", partial(schedule, steps=40))
        yield


@dataclass(frozen=True)
class Small:
    """The small study with its compiled engine and its first two rungs."""

    climber: Climber
    given: Rung
    tuned: Rung

    @property
    def paths(self) -> tuple[str, ...]:
        """Dotted paths of the variables."""
        return self.climber.space.paths

    def mask(self, *paths: str) -> np.ndarray:
        """Exactly the named variables, without the governor's."""
        unknown = set(paths) - set(self.paths)
        assert not unknown
        return np.array([path in paths for path in self.paths])

    def start(self, **changes: float) -> Floats:
        """Values of the tuned baseline with some replaced; names end the paths."""
        values = self.tuned.values.copy()
        for name, value in changes.items():
            (place,) = [
                i for i, path in enumerate(self.paths) if path.endswith(f".{name}")
            ]
            values[place] = value
        return values

    def theta(self, *, time: float | None = None) -> Theta:
        """Parameters with only the limit on time, none on the baseline."""
        bounds = [
            1e9 if limit.baseline else (limit.value or 0.0)
            for limit in self.climber.study.limits
        ]
        if time is not None:
            bounds[TPOT] = time
        return self.climber.theta.replace(bounds=np.array(bounds))

    def climb(self, *, prefixes: Sequence[str], seed: int = 0) -> Rung:
        """The rung that a search from the tuned baseline reaches."""
        self.climber.rng = np.random.default_rng(seed)
        mask = self.climber.space.select(prefixes)
        return self.climber.climb("rung", mask=mask, known=self.tuned.values[None])

    def search(
        self, mask: np.ndarray, *, theta: Theta, known: Floats, seed: int = 0
    ) -> Found:
        """Outcome of one search over exactly the masked variables."""
        rng = np.random.default_rng(seed)
        return Search(self.climber.engine, theta, mask, rng).run(
            known[None],
            starts=self.climber.study.search.starts,
            progress=lambda _: None,
        )
