"""Weights in cells: every lever buys something and costs something."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.core.compiler import cpu_options
from codesign.core.paths import get_path
from codesign.cost.detail import operator_costs
from codesign.cost.evaluate import evaluate
from codesign.cost.total import cost
from codesign.serving.design import Design
from tests.physics.designs import preset_design, with_values

NOTICEABLE = 1e-4  # relative
SHARPNESS = 256.0


def analog(**values: float) -> Design:
    """Llama-3-8B in 4 and 8 bit on eight chips whose cells multiply."""
    formats = {
        "model__weight_bits": 4.0,
        "model__activation_bits": 8.0,
        "model__head_bits": 8.0,
    }
    given = {"num_chips": 8, "tensor_parallel": 8, "batch": 4.0}
    design = preset_design("analog-in-memory", "llama-3-8b", **given)
    return with_values(design, **(formats | values))


def rom(**values: float) -> Design:
    formats = {"model__weight_bits": 4.0, "model__head_bits": 8.0}
    given = {"num_chips": 2, "tensor_parallel": 2, "batch": 4.0}
    design = preset_design("weights-in-rom", "llama-3-8b", **given)
    return with_values(design, **(formats | values))


def stacked(**values: float) -> Design:
    design = preset_design("dram-on-logic", "llama-3-8b", batch=16.0)
    return with_values(design, **values)


class Lever(NamedTuple):
    """A change of one parameter and the metrics it raises (+) or lowers (-)."""

    design: Design
    path: str
    factor: float
    better: dict[str, int]
    worse: dict[str, int]


def levers() -> list[Lever]:
    arrays = "chip.store.arrays."
    return [
        Lever(
            analog(),
            "chip.store.capacity",
            0.5,
            {"chip.area": -1, "chip.price": -1},
            {"breakdown.energy.dram": 1, "breakdown.decode_seconds.memory": 1},
        ),
        Lever(
            rom(),
            "chip.store.capacity",
            0.5,
            {"chip.area": -1, "chip.price": -1},
            {"breakdown.energy.dram": 1, "breakdown.decode_seconds.memory": 1},
        ),
        Lever(
            analog(),
            f"{arrays}rows",
            2.0,
            {"breakdown.energy.converter": -1, "chip.store_area": -1},
            {"limits.adc_bits": 1},
        ),
        Lever(
            analog(),
            f"{arrays}adc_bits",
            10 / 9,
            {"limits.adc_bits": -1},
            {"breakdown.energy.converter": 1},
        ),
        Lever(
            analog(),
            f"{arrays}cols_per_adc",
            0.5,
            {"time_per_output_token": -1},
            {"chip.area": 1, "chip.price": 1},
        ),
        Lever(
            analog(),
            f"{arrays}input_bits",
            2.0,
            {"time_per_output_token": -1, "breakdown.energy.converter": -1},
            {"limits.adc_bits": 1},
        ),
        Lever(
            analog(),
            f"{arrays}cells_per_byte",
            2.0,
            {"limits.adc_bits": -1},
            {"chip.area": 1, "breakdown.energy.converter": 1},
        ),
        Lever(
            analog(),
            "model.weight_bits",
            0.5,
            {"breakdown.energy.converter": -1, "memory.weight_bytes": -1},
            {},
        ),
        Lever(
            analog(),
            "model.activation_bits",
            0.5,
            {"breakdown.energy.converter": -1, "time_per_output_token": -1},
            {},
        ),
        Lever(
            rom(),
            "chip.store.fixed_fraction",
            0.5,
            {"usd_per_token": -1, "carbon_per_token": -1},
            {},
        ),
        Lever(
            rom(),
            "technology.datacenter.model_lifetime",
            0.5,
            {},
            {"usd_per_token": 1, "carbon_per_token": 1},
        ),
        Lever(rom(), "chip.program.mask_fraction", 5.0, {}, {"usd_per_token": 1}),
        Lever(rom(), "chip.program.model_volume", 0.1, {}, {"usd_per_token": 1}),
        Lever(
            preset_design("inhouse-asic", "llama-3-8b"),
            "chip.program.volume",
            0.25,
            {},
            {"chip.price": 1, "usd_per_token": 1},
        ),
        Lever(
            stacked(),
            "chip.dram.stacks",
            1.2,
            {"limits.memory": -1, "max_batch": 1, "limits.dram_pins": -1},
            {"limits.stack_area": 1, "chip.price": 1, "chip.memory_power": 1},
        ),
        Lever(
            stacked(),
            "chip.tdp",
            1.2,
            {},
            {"limits.power_density": 1, "chip.price": 1},
        ),
    ]


ONE_SIDED = {
    "model.weight_bits": "its price is quality, tests/physics/test_prices.py",
    "model.activation_bits": "its price is quality, tests/physics/test_prices.py",
    "chip.store.fixed_fraction": "its other side is the size of a cell, below",
    "technology.datacenter.model_lifetime": "a constant",
    "chip.program.mask_fraction": "a constant of the kind of cell",
    "chip.program.model_volume": "a fact of the demand, not free",
    "chip.program.volume": "a fact of the demand, not free",
    "chip.tdp": "its benefit is shown in tests/physics/test_price_rows.py",
}
ROWS = levers()


@pytest.mark.parametrize("row", ROWS, ids=[f"{i} {r.path}" for i, r in enumerate(ROWS)])
def test_lever_buys_and_costs(row: Lever):
    name = row.path.replace(".", "__")
    value = row.factor * float(get_path(row.design, row.path))
    before, after = (
        evaluate(d) for d in (row.design, with_values(row.design, **{name: value}))
    )
    assert bool(row.better and row.worse) != (row.path in ONE_SIDED)
    for key, sign in (*row.better.items(), *row.worse.items()):
        old, new = (float(get_path(found, key)) for found in (before, after))
        assert sign * (new - old) > NOTICEABLE * abs(old), f"{key}: {old} to {new}"


def test_cells_that_cannot_be_rewritten_are_the_smaller_ones():
    """A byte in mask ROM takes a quarter of bulk SRAM, which can hold any model."""
    design = rom()
    per_byte = float(design.chip.store.cell_area)
    assert per_byte < 0.3 * float(design.technology.sram.bulk_area)


def test_a_chip_without_cells_does_not_see_their_constants():
    design = preset_design("h100-sxm", "llama-3-8b")
    other = with_values(
        design,
        chip__store__arrays__rows=64.0,
        chip__store__arrays__adc_energy=1e-9,
        chip__store__in_place_fraction=1.0,
        chip__store__arrays__input_bits=1.0,
        chip__store__arrays__conversion_time=1e-6,
    )
    for name in ("energy_per_token", "time_per_output_token", "usd_per_token"):
        given, found = (float(getattr(evaluate(d), name)) for d in (design, other))
        assert found == pytest.approx(given, rel=1e-12), name


def test_conversions_of_a_decode_step_by_hand():
    """8 slices of 4-bit weights and their scales, 32 of the head; 9 bit at 14 nm."""
    found = evaluate(analog())
    assert float(found.memory.store_residency) == pytest.approx(1.0)
    ffn = operator_costs(analog(), kind="decode")["ffn in"]
    per_step = float(found.breakdown.decode_joules.converter)
    layers, head = 6.98e9 * (4.25 / 4) * 8, 0.525e9 * 2 * 16
    products = 4 * (layers + head) / 8
    each = 0.5 * ((0.69e-12 + 1.85e-15 * 512) / 256 + 3.3e-15)
    assert per_step == pytest.approx(products * each, rel=0.02)
    turns = 4 * 32 * 8 * 32 * 10e-9
    assert float(ffn.seconds) > turns


def test_share_in_cells_grows_without_a_jump():
    """From none to all weights: finite slopes, and no step larger than its slope."""
    sizes = jnp.geomspace(1e6, 2e9, 65)
    design = analog()

    def metrics(size: jax.Array) -> jax.Array:
        found = cost(
            with_values(design, chip__store__capacity=size), sharpness=SHARPNESS
        )
        return jnp.log(jnp.stack([found.energy_per_token, found.time_per_output_token]))

    both = jax.jit(
        jax.vmap(lambda s: jax.jvp(metrics, (s,), (s,))),
        compiler_options=cpu_options(level=0),
    )
    values, slopes = map(np.asarray, both(sizes))
    assert np.isfinite(values).all()
    assert np.isfinite(slopes).all()
    step = float(np.log(sizes[1] / sizes[0]))
    steepest = np.maximum(abs(slopes[1:]), abs(slopes[:-1]))
    assert (np.abs(np.diff(values, axis=0)) <= 1.5 * steepest * step + 1e-4).all()
