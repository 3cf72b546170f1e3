"""Keys and values between a prefill and a decode chip: bytes, seconds, joules."""

import pytest

from codesign.config.design import build_design
from codesign.core.record import as_float64
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.outcome.handoff import Handoff, handoff_bytes, with_handoff
from codesign.serving.design import Design
from codesign.serving.load import design_load, handling_time

BANDWIDTH, LATENCY, ENERGY = 50e9, 10e-6, 80e-12
CHANGED = {
    "time_to_first_token",
    "request_latency",
    "energy_per_token",
    "energy_per_token_server",
    "energy_per_token_facility",
    "energy_per_request",
}


def link(share: float) -> Handoff:
    return Handoff(
        time_per_byte=1 / BANDWIDTH,
        latency=LATENCY,
        energy_per_byte=ENERGY,
        share=share,
    )


@pytest.fixture(scope="module")
def design() -> Design:
    return as_float64(
        build_design(
            chip="h100-sxm",
            num_chips=8,
            model="llama-3-70b",
            tensor_parallel=4,
            batch=8,
            prompt_length=1024,
            output_length=1,
        )
    )


@pytest.fixture(scope="module")
def plain(design: Design) -> Cost:
    return evaluate(design)


def test_bytes_are_those_of_all_heads_and_layers(design: Design):
    # 2 x 8 heads x 128 x 2 bytes x 80 layers x 1024 tokens
    assert float(handoff_bytes(design)) == 2 * 8 * 128 * 2 * 80 * 1024


def test_the_pool_that_receives_pays_nothing(design: Design, plain: Cost):
    found = with_handoff(plain, design, handoff=link(0.0))
    assert all(
        float(getattr(found, name)) == float(getattr(plain, name)) for name in CHANGED
    )


def test_joules_and_seconds_follow_the_bytes(design: Design, plain: Cost):
    found = with_handoff(plain, design, handoff=link(1.0))
    size = float(handoff_bytes(design))
    added = float(found.energy_per_token_server - plain.energy_per_token_server)
    assert added == pytest.approx(ENERGY * size, rel=1e-6)
    handled = handling_time(design_load(design), design.stack)
    waited = max(
        float(plain.time_to_first_token),
        float(handled + 1.5 * plain.time_per_output_token),
    )
    sent = LATENCY + size / (BANDWIDTH * 4)
    assert float(found.time_to_first_token) == pytest.approx(waited + sent)
    same = set(Cost.__dataclass_fields__) - CHANGED
    assert all(getattr(found, name) is getattr(plain, name) for name in same)
