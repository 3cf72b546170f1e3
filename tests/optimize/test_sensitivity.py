"""Elasticities are the slopes of ``evaluate`` in logarithms."""

import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.design import build_design
from codesign.core.errors import InputError, UnknownKeyError, UnknownNameError
from codesign.core.paths import get_path, set_path
from codesign.cost.evaluate import evaluate
from codesign.optimize.sensitivity import elasticities
from codesign.serving.design import Design

STEP = 1e-5


def _design(**load: object) -> Design:
    return build_design(
        chip="h100-sxm",
        num_chips=8,
        model="llama-3-70b",
        tensor_parallel=8,
        prompt_length=1000,
        output_length=256,
        **load,
    )


def _difference(design: Design, path: str, *, of: str) -> float:
    value = get_path(design, path)
    ends = [
        float(get_path(evaluate(set_path(design, path, value=value * jnp.exp(h))), of))
        for h in (STEP, -STEP)
    ]
    return float(np.log(ends[0] / ends[1]) / (2 * STEP))


@pytest.mark.parametrize("load", [{"batch": 64}, {"rate": "2 req/s"}], ids=str)
@pytest.mark.parametrize("metric", ["energy_per_token", "time_per_output_token"])
def test_elasticities_are_central_differences(load: dict[str, object], metric: str):
    design = _design(**load)
    paths = ["chip.dram.bandwidth", "stack.dram_efficiency", "request.output_length"]
    found = elasticities(design, of=metric, wrt=paths)
    for path in paths:
        expected = _difference(design, path, of=metric)
        assert found[path] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_rate_moves_energy_through_the_batch():
    design = _design(rate="2 req/s")
    found = elasticities(design, wrt=["request.rate"])["request.rate"]
    expected = _difference(design, "request.rate", of="energy_per_token")
    assert found == pytest.approx(expected, rel=1e-4)
    assert found < -0.1


def test_all_leaves_are_finite_and_zeros_are_left_out():
    found = elasticities(_design(batch=64))
    assert np.all(np.isfinite(list(found.values())))
    assert "chip.tdp" in found
    assert "request.rate" not in found
    assert "request.prefix_hit_fraction" not in found


def test_group_means_its_leaves():
    found = elasticities(_design(batch=64), wrt=["chip.dram", "chip.dram.stacks"])
    assert {path.rpartition(".")[0] for path in found} == {"chip.dram"}


def test_unknown_names_are_errors():
    design = _design(batch=64)
    with pytest.raises(UnknownKeyError, match=r"chip\.dram\.bandwidth"):
        elasticities(design, wrt=["chip.dram.bandwith"])
    with pytest.raises(UnknownNameError, match="energy_per_token"):
        elasticities(design, of="enery_per_token")
    with pytest.raises(InputError, match="queue_time"):
        elasticities(design, of="queue_time")
