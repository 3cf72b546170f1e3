"""A state is texts with units; the design that it means is checked."""

import jax
import numpy as np
import pytest

from codesign.config.design import build_design
from codesign.core.errors import CodesignError, InputError, UnknownNameError
from codesign.core.paths import get_path
from codesign.core.record import as_float64
from codesign.explore.state import (
    Origin,
    State,
    followers,
    place_state,
    read_state,
    state_of,
    state_texts,
)
from codesign.serving.design import Design


@pytest.fixture(scope="module")
def origin() -> Origin:
    design = build_design(
        chip="h100-sxm",
        num_chips=8,
        model="llama-3-70b",
        batch=64,
        prompt_length=1024,
        output_length=256,
    )
    return Origin(jax.device_get(as_float64(design)), "h100-sxm", "llama-3-70b")


def at(design: Design, path: str) -> float:
    return float(get_path(design, path))


def test_an_empty_state_is_the_origin(origin: Origin):
    placed = place_state(origin, State())
    for new, old in zip(*map(jax.tree.leaves, (placed, origin.design)), strict=True):
        np.testing.assert_array_equal(new, old)


def test_texts_read_back_to_the_same_state():
    given = State(
        chip="b200-sxm",
        values={"chip.dram.bandwidth": 3.35e12, "deployment.batch": 96.0},
    )
    assert read_state(state_texts(given)) == given


def test_values_stand_where_their_paths_say(origin: Origin):
    state = read_state({"values": {"chip.tdp": "500 W", "model.weight_bits": 8}})
    design = place_state(origin, state)
    assert at(design, "chip.tdp") == 500.0
    assert at(design, "model.weight_bits") == 8.0
    assert at(design, "chip.dram.bandwidth") == at(origin.design, "chip.dram.bandwidth")


def test_power_limit_follows_the_tdp_until_it_is_set(origin: Origin):
    free = read_state({"values": {"chip.tdp": "500 W"}})
    held = read_state(
        {"values": {"chip.tdp": "500 W", "deployment.power_limit": "400 W"}}
    )
    assert at(place_state(origin, free), "deployment.power_limit") == 500.0
    assert at(place_state(origin, held), "deployment.power_limit") == 400.0
    assert followers(origin.design, free)["chip.tdp"] == ("deployment.power_limit",)
    assert followers(origin.design, held)["chip.tdp"] == ()


def test_another_chip_brings_its_system_stack_and_limits(origin: Origin):
    design = place_state(origin, State(chip="b200-sxm"))
    like = build_design(
        chip="b200-sxm",
        num_chips=8,
        model="llama-3-70b",
        batch=64,
        prompt_length=1024,
        output_length=256,
    )
    for new, old in zip(*map(jax.tree.leaves, (design, like)), strict=True):
        np.testing.assert_array_equal(new, old)


def test_width_of_parallelism_follows_the_chips_unless_set(origin: Origin):
    four = {"system.num_chips": "4"}
    assert at(place_state(origin, read_state({"values": four})), WIDTH) == 4.0
    with pytest.raises(InputError, match="tensor_parallel"):
        place_state(origin, read_state({"values": {**four, WIDTH: "8"}}))


WIDTH = "deployment.tensor_parallel"


def test_state_of_a_design_places_that_design(origin: Origin):
    state = State(
        chip="b200-sxm",
        values={"model.num_layers": 60.0, "chip.tdp": 900.0, "deployment.batch": 32.0},
    )
    design = place_state(origin, state)
    again = place_state(origin, state_of(origin, state, design=design))
    for new, old in zip(*map(jax.tree.leaves, (again, design)), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-7)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "expected a mapping"),
        ({"values": {"chip.tdp": "700 GB/s"}}, r"chip.tdp is a power"),
        ({"values": {"chip.tdp": 700}}, r"chip.tdp needs a unit"),
        ({"values": {"chip.hbm": "1 W"}}, r"chip.hbm: unknown parameter"),
        ({"values": {"chip.tdp": "-3 W"}}, "negative"),
        ({"chip": 3}, "state.chip: expected a name"),
    ],
)
def test_bad_input_is_named(data: object, message: str):
    with pytest.raises(CodesignError, match=message):
        read_state(data)


def test_all_problems_come_at_once():
    with pytest.raises(InputError, match=r"(?s)chip\.tdp.*chip\.hbm"):
        read_state({"values": {"chip.tdp": 700, "chip.hbm": "1 W"}})


def test_only_presets_are_read_never_files(origin: Origin):
    with pytest.raises(UnknownNameError, match="Close: h100-sxm"):
        place_state(origin, State(chip="h100-sxn"))
    with pytest.raises(UnknownNameError, match="no preset"):
        place_state(origin, State(model="../../secrets.yaml"))
