"""One trace serves every chip and model; a batch is the loop over its members."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.catalogue import list_presets
from codesign.config.models import load_model
from codesign.core.record import as_float64
from codesign.cost import evaluate as module
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.serving.design import Design
from tests.helpers import assert_trees_close
from tests.physics.designs import preset_design, with_values

MODELS = (
    "llama-3-8b",
    "qwen3-30b-a3b",
    "deepseek-v3",
    "gemma-3-12b",
    "nemotron-nano-9b-v2",
    "gpt-oss-120b",
)


def designs() -> list[Design]:
    """Over a hundred designs of all chips, six classes of model and two batches."""
    shapes = [load_model(name) for name in MODELS]
    chips = [preset_design(chip, MODELS[0]) for chip in list_presets("chips")]
    return [
        with_values(chip.replace(model=shape), deployment__batch=batch)
        for chip, shape, batch in itertools.product(chips, shapes, (1.0, 96.0))
    ]


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that grows by one whenever the function inside ``jit`` is traced."""
    seen: list[str] = []
    inner = module.prepare

    def counted(*args: Any, **kwargs: Any) -> Any:
        seen.append("trace")
        return inner(*args, **kwargs)

    monkeypatch.setattr(module, "prepare", counted)
    return seen


def test_counter_sees_a_new_trace(traces: list[str]):
    design = as_float64(preset_design())
    jax.eval_shape(lambda d: module._evaluate.__wrapped__(d, None), design)
    assert len(traces) == 1


def test_one_trace_serves_a_hundred_designs(traces: list[str]):
    given = designs()
    assert len(given) >= 100
    shapes = {str(jax.tree.map(jnp.shape, as_float64(d))) for d in given}
    assert len(shapes) == 1
    found = [float(evaluate(design).energy_per_token) for design in given]
    assert len(traces) <= 1  # none where another test has evaluated before
    assert len({round(np.log(energy), 9) for energy in found}) == len(found)


def test_python_numbers_share_the_trace(traces: list[str]):
    design = preset_design()
    evaluate(design)
    del traces[:]
    plain = design.replace(
        deployment=design.deployment.replace(batch=17, power_limit=512)
    )
    evaluate(plain)
    assert not traces


def test_batch_equals_loop():
    members = [
        preset_design("h100-sxm", "llama-3-70b", num_chips=8),
        preset_design("tpu-v4", "nemotron-nano-9b-v2", batch=5.0),
        preset_design("b200-sxm", "deepseek-v3", num_chips=8, power_limit=600.0),
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)

    def closed(design: Design) -> Cost:
        """Without an arrival rate, which a traced rate could turn out to be."""
        return evaluate(design.replace(request=design.request.replace(rate=0.0)))

    together = jax.vmap(closed)(stacked)
    for index, member in enumerate(members):
        alone = evaluate(member)
        picked = jax.tree.map(lambda leaf, i=index: leaf[i], together)
        assert_trees_close(picked, alone, rtol=1e-9, atol=1e-14)
