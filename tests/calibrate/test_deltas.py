"""Pairs of runs that differ in one thing only."""

from dataclasses import replace

import pytest

from codesign.calibrate.deltas import deltas
from codesign.calibrate.predict import Prediction
from codesign.config.rows import MeasuredRow
from tests.calibrate.test_fit import row


def predicted(measured: MeasuredRow, *, latency: float = 1.0) -> Prediction:
    return Prediction(
        row=measured,
        kind="dense 16-bit",
        inter_token_latency=latency,
        step_time=latency,
        power=1.0,
        power_at_step=1.0,
        energy_per_token=1.0,
        memory_fraction=0.5,
    )


def test_a_doubled_batch_is_scored_by_its_ratio():
    small = replace(row("qwen3-8b", 10.0), inter_token_latency=10.0)
    large = replace(row("qwen3-8b", 20.0), inter_token_latency=15.0)
    found = {
        d.metric: d
        for d in deltas([predicted(large, latency=1.2), predicted(small, latency=1.0)])
    }
    delta = found["inter_token_latency"]
    assert delta.change == "batch doubled, H100"
    assert delta.pairs == 1
    assert delta.measured == pytest.approx(1.5)
    assert delta.quartiles == pytest.approx((1.5, 1.5))
    assert delta.predicted == pytest.approx(1.2)
    assert delta.error == pytest.approx(0.2231, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"chip": "B200"}, "chip H100 to B200"),
        ({"weight_bits": 8.0}, "weights 16 to 8 bit"),
        (
            {"num_chips": 2.0, "tensor_parallel": 2.0},
            "tensor parallelism doubled, H100",
        ),
        ({"batch": 130.0}, ""),
        ({"chip": "B200", "weight_bits": 8.0}, ""),
        ({"task": "code", "batch": 200.0}, ""),
        ({"flag": "stalls", "batch": 200.0}, ""),
        ({"num_chips": 4.0, "tensor_parallel": 4.0}, ""),
        ({"batch": 200.0, "prompt_length": 1e4}, ""),
        ({"batch": 200.0, "output_length": 1e4}, ""),
        ({"batch": 200.0, "framework": "other 1.0"}, ""),
    ],
)
def test_only_one_thing_may_differ(change: dict[str, object], name: str):
    base = row("qwen3-8b", 100.0)
    other = replace(base, **change)
    for pair in ([base, other], [other, base]):
        found = deltas([predicted(r, latency=r.batch) for r in pair])
        assert {d.change for d in found} == ({name} if name else set())
        if name:
            assert all(d.predicted == pytest.approx(1.0) for d in found)


def test_without_a_measurement_there_is_no_ratio():
    base = replace(row("qwen3-8b", 10.0), energy_per_token=float("nan"))
    found = deltas([predicted(base), predicted(replace(base, batch=20.0))])
    assert {d.metric for d in found} == {"inter_token_latency", "step_time"}
