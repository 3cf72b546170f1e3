"""Designs, the box of the joint study and its metrics, shared by physics tests.

A point of the box is an array of logarithms of ``PATHS``; ``box_rows`` gives
all metrics and their slope along one direction for many points at once, from
one compiled function per kind of model.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from codesign.config.chips import chip_info, load_chip, load_system
from codesign.config.design import build_design
from codesign.config.models import load_model
from codesign.config.quality import load_quality_constants
from codesign.config.stacks import load_stack
from codesign.config.study import load_study
from codesign.config.technology import load_technology
from codesign.core.compiler import cpu_options
from codesign.core.paths import get_path
from codesign.core.smooth import Sharpness
from codesign.cost.evaluate import evaluate
from codesign.cost.limits import Limits
from codesign.cost.record import Cost
from codesign.hardware.silicon import Silicon, silicon
from codesign.model.transformer import Transformer
from codesign.outcome.answer import Outcome, complete, outcome
from codesign.quality.constants import QualityConstants
from codesign.quality.evaluate import quality
from codesign.quality.validity import Validity
from codesign.serving.design import Design, set_parameter

TRAINING_TOKENS = 15e12
COLUMN = 16  # values of a parameter in one call
ROWS = 64  # points per call of the compiled function
SHARPNESS = 256.0
KINDS = ("hard", "smooth", "governed")

COSTS = (
    "energy_per_token_server",
    "time_per_output_token",
    "time_to_first_token",
    "usd_per_token",
    "chip.area",
)
"""Positive metrics, taken as logarithms; smaller is better."""

LIMITS = tuple(f"limits.{name}" for name in Limits.__dataclass_fields__)
VALIDITY = tuple(f"quality.validity.{name}" for name in Validity.__dataclass_fields__)
METRICS = (*COSTS, "quality.gap", *LIMITS, *VALIDITY)
"""Metrics of a design, all of them better when smaller."""

EXTRA = {
    "deployment.decode_voltage": (0.3, 0.95),
    "deployment.prefill_voltage": (0.3, 0.95),
    "chip.voltage": (0.65, 0.95),
    "chip.node": (3e-9, 16e-9),
    "chip.sram.fast_fraction": (0.05, 0.9),
    "chip.dram.stack_capacity": (8e9, 64e9),
    "chip.dram.stack_bandwidth": (4e11, 3e12),
    "chip.dram.generation": (2.5, 4.0),
}
"""Parameters that a joint study has or may have beside its ``free`` section."""


class Box(NamedTuple):
    """Paths with the logarithms of their bounds."""

    paths: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray

    def points(self, seed: int, *, count: int) -> np.ndarray:
        """Uniform draws; the power limit stays below the TDP."""
        draws = np.random.default_rng(seed).uniform(size=(count, len(self.paths)))
        return self.legal(self.low + draws * (self.high - self.low))

    def corners(self, seed: int, *, count: int) -> np.ndarray:
        """Random corners, with all low and all high."""
        draws = np.random.default_rng(seed).integers(0, 2, (count, len(self.paths)))
        draws[0], draws[1] = 0, 1
        return self.legal(np.where(draws > 0, self.high, self.low))

    def legal(self, points: np.ndarray) -> np.ndarray:
        """Points with the power limit at most the TDP."""
        limit, tdp = self.index("deployment.power_limit"), self.index("chip.tdp")
        points[..., limit] = np.minimum(points[..., limit], points[..., tdp])
        return points

    def index(self, path: str) -> int:
        """Position of a path."""
        return self.paths.index(path)


@cache
def study_baseline() -> Design:
    """Baseline of the joint study: Llama-3-70B on eight H100."""
    return load_study("joint_chat").baseline


@cache
def joint_box() -> Box:
    """The box of the joint study with voltages and node."""
    bounds = {v.path: (v.low, v.high) for v in load_study("joint_chat").free} | EXTRA
    low, high = np.log(np.array(list(bounds.values()))).T
    return Box(tuple(bounds), low, high)


@cache
def quality_constants() -> QualityConstants:
    """Constants of the quality law."""
    return load_quality_constants()


@cache
def _shape(model: str) -> Transformer:
    return load_model(model, training_tokens=TRAINING_TOKENS)


@cache
def _hardware(chip: str) -> dict[str, Any]:
    """Chip, system, stack and technology of a preset, read once."""
    return {
        "chip": load_chip(chip),
        "system": load_system(chip, num_chips=1),
        "stack": load_stack(chip_info(chip).stack),
        "technology": load_technology(),
    }


@cache
def preset_design(
    chip: str = "h100-sxm", model: str = "llama-3-70b", **given: Any
) -> Design:
    """Design of presets at 1024 prompt and 256 output tokens unless given."""
    request = {"prompt_length": 1024.0, "output_length": 256.0}
    if "rate" not in given:
        request["batch"] = 64.0
    return build_design(**_hardware(chip), model=_shape(model), **(request | given))


def with_values(design: Design, **values: Any) -> Design:
    """The design with parameters replaced; ``__`` stands for the dot of a path."""
    for name, value in values.items():
        path = name.replace("__", ".")
        design = set_parameter(design, path, value=jnp.asarray(value, jnp.float64))
    return design


def costs_along(design: Design, **columns: np.ndarray) -> list[Cost]:
    """Costs with parameters replaced by columns of equal length, at most 16 rows.

    One program serves all designs of one kind of model.
    """
    return _along(design, columns, run=_costs())


def silicon_along(design: Design, **columns: np.ndarray) -> list[Silicon]:
    """Silicon of the chip with parameters replaced by columns."""
    return _along(design, columns, run=_silicons())


@cache
def _costs() -> Callable[[Design], Cost]:
    options = cpu_options(level=0)
    return jax.jit(lambda rows: jax.lax.map(evaluate, rows), compiler_options=options)


@cache
def _silicons() -> Callable[[Design], Silicon]:
    def built(design: Design) -> Silicon:
        return silicon(design.chip, design.technology)

    return jax.jit(jax.vmap(built), compiler_options=cpu_options(level=0))


def _along(
    design: Design, columns: dict[str, np.ndarray], *, run: Callable[[Design], Any]
) -> list[Any]:
    count = len(next(iter(columns.values())))
    rows = jax.tree.map(
        lambda leaf: np.broadcast_to(leaf, (COLUMN, *np.shape(leaf))), design
    )
    filled = {name: np.resize(column, COLUMN) for name, column in columns.items()}
    found = jax.device_get(run(with_values(rows, **filled)))
    return [jax.tree.map(lambda leaf, i=i: leaf[i], found) for i in range(count)]


def box_point(design: Design) -> np.ndarray:
    """Logarithms of the design's own values of the box's parameters."""
    return np.log([float(get_path(design, path)) for path in joint_box().paths])


def at_point(design: Design, point: Array) -> Design:
    """The design with the box's parameters at exp(point); traceable."""
    for index, path in enumerate(joint_box().paths):
        design = set_parameter(design, path, value=jnp.exp(point[index]))
    return design


def metric_values(found: Outcome) -> Array:
    """All ``METRICS``, costs as logarithms."""
    costs = [jnp.log(get_path(found.cost, name)) for name in COSTS]
    ratios = [
        get_path(found if name.startswith("quality") else found.cost, name)
        for name in METRICS[len(COSTS) :]
    ]
    return jnp.stack([jnp.asarray(value) for value in (*costs, *ratios)])


def _found(design: Design, reference: Transformer, *, kind: str) -> Outcome:
    constants = quality_constants()
    if kind != "governed":
        sharpness: Sharpness = SHARPNESS if kind == "smooth" else None
        return outcome(
            design, reference=reference, constants=constants, sharpness=sharpness
        )
    design = design.replace(request=design.request.replace(rate=0.0))
    scored = quality(design.model, reference=reference, constants=constants)
    return complete(design, evaluate(design), scored=scored, constants=constants)


@cache
def _compiled(kind: str) -> Callable[..., tuple[Array, Array]]:
    reference = study_baseline().model
    quality_constants()

    def rows(design: Design, lines: tuple[Array, Array]) -> tuple[Array, Array]:
        def values(at: Array) -> Array:
            return metric_values(_found(at_point(design, at), reference, kind=kind))

        return jax.lax.map(lambda line: jax.jvp(values, line[:1], line[1:]), lines)

    return jax.jit(rows, compiler_options=cpu_options(level=0))


def box_rows(
    design: Design, points: np.ndarray, *, directions: np.ndarray, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Metrics (points x metrics) and their slopes along one direction per point."""
    count, size = points.shape
    padded = -(-count // ROWS) * ROWS
    filled = np.resize(points, (padded, size)).reshape(-1, ROWS, size)
    along = np.resize(directions, (padded, size)).reshape(-1, ROWS, size)
    run = _compiled(kind)
    parts = [run(design, line) for line in zip(filled, along, strict=True)]
    values = np.concatenate([np.asarray(part[0]) for part in parts])
    slopes = np.concatenate([np.asarray(part[1]) for part in parts])
    return values[:count], slopes[:count]


def box_values(design: Design, points: np.ndarray, *, kind: str) -> np.ndarray:
    """Metrics of many points."""
    return box_rows(design, points, directions=0.0 * points, kind=kind)[0]


def box_jacobian(design: Design, points: np.ndarray, *, kind: str) -> np.ndarray:
    """Slopes of all metrics in all parameters: points x parameters x metrics."""
    count, size = points.shape
    repeated = np.repeat(points, size, axis=0)
    axes = np.tile(np.eye(size), (count, 1))
    slopes = box_rows(design, repeated, directions=axes, kind=kind)[1]
    return slopes.reshape(count, size, -1)
