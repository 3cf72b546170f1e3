"""Zeros in weights and activations: fewer bytes and products, paid in loss."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.faults import design_faults
from codesign.config.models import load_model
from codesign.config.quality import load_quality_constants
from codesign.config.recipe import Recipe
from codesign.config.study import load_study
from codesign.core.compiler import cpu_options
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.cost.total import prepare
from codesign.model.formats import stored_share, touched_share
from codesign.model.transformer import Transformer
from codesign.operators.feedforward import FFN_IN
from codesign.operators.phases import KINDS
from codesign.quality.constants import QualityConstants
from codesign.quality.evaluate import quality
from codesign.quality.validity import is_extrapolated
from codesign.serving.design import Design
from tests.helpers import tree_finite
from tests.physics.designs import preset_design, with_values

FREE_POWER = {"chip__tdp": 1e5, "deployment__power_limit": 1e5}
LONG = {"num_chips": 8.0, "tensor_parallel": 8.0, "prompt_length": 4096.0}


@pytest.fixture(scope="module")
def constants() -> QualityConstants:
    return load_quality_constants()


@pytest.fixture(scope="module")
def trained() -> QualityConstants:
    return load_quality_constants(recipe=Recipe(trained=True))


def placed(chip: str = "h100-sxm", *, batch: float = 1.0, **values: float) -> Design:
    design = preset_design(chip, "llama-3-70b", batch=batch, **LONG)
    return with_values(design, **FREE_POWER, **values)


def sparse(chip: str = "h100-sxm", **more: float) -> Design:
    return placed(chip, model__weight_density=0.5, **more)


_prepared = jax.jit(prepare, compiler_options=cpu_options(level=0))


def costs(*designs: Design) -> tuple[Cost, ...]:
    return tuple(evaluate(design) for design in designs)


@pytest.mark.parametrize(
    ("bits", "share"), [(16.0, 9 / 16), (8.0, 5 / 8), (4.5, 3.25 / 4.5)]
)
def test_indices_are_stored_beside_what_is_kept(bits: float, share: float):
    found = stored_share(0.5, bits=bits, index_bits=2.0)
    assert float(found) == pytest.approx(share)


def test_the_fewer_tokens_the_more_inputs_are_zero_for_all():
    found = touched_share(0.5, jnp.array([1.0, 2.0, 4.0, 64.0]))
    assert np.allclose(found, [0.5, 0.75, 0.9375, 1.0])


def test_half_of_the_weights_take_half_of_the_memory_and_their_indices():
    dense, half = costs(placed(), sparse())
    ratio = float(half.memory.weight_bytes / dense.memory.weight_bytes)
    assert 9 / 16 < ratio < 9 / 16 + 0.02, "embedding and head stay dense"
    assert float(half.breakdown.energy.dram) < 0.65 * float(dense.breakdown.energy.dram)
    assert float(half.time_per_output_token) < 0.85 * float(dense.time_per_output_token)


def test_only_hardware_for_the_pattern_skips_products():
    """Prefill is twice as fast on tensor cores that skip, and no faster without."""
    ratios: list[float] = []
    energies: list[float] = []
    for rate in (2.0, 1.0):
        dense, half = (
            _prepared(d).done
            for d in (
                placed(chip__compute__sparse_rate=rate),
                sparse(chip__compute__sparse_rate=rate),
            )
        )
        place = 0, KINDS.index(FFN_IN)
        ratios.append(float(half.formats.rate[place] / dense.formats.rate[place]))
        pair = half.formats.mac_energy[place] / dense.formats.mac_energy[place]
        energies.append(float(pair))
    assert ratios == [2.0, 1.0]
    assert energies[0] < energies[1] < 1.0


def test_chips_say_whether_they_skip_zeros():
    rates = {
        chip: float(placed(chip).chip.compute.sparse_rate)
        for chip in ("a100-sxm-80gb", "h100-sxm", "b200-sxm", "tpu-v4", "wse-3")
    }
    assert rates == {
        "a100-sxm-80gb": 2.0,
        "h100-sxm": 2.0,
        "b200-sxm": 2.0,
        "tpu-v4": 1.0,
        "wse-3": 1.0,
    }


def test_hardware_for_the_pattern_takes_area():
    plain, skipping = costs(*(placed(chip__compute__sparse_rate=r) for r in (1.0, 2.0)))
    assert float(skipping.chip.area) > 1.002 * float(plain.chip.area)
    assert float(skipping.chip.price) > float(plain.chip.price)


def test_zeros_of_activations_help_few_users_alone():
    few, few_zeros = costs(placed(), placed(model__activation_density=0.5))
    assert float(few_zeros.time_per_output_token) < 0.8 * float(
        few.time_per_output_token
    )
    assert float(few_zeros.memory.weight_bytes) == float(few.memory.weight_bytes)
    many, many_zeros = costs(
        placed(batch=128.0), placed(batch=128.0, model__activation_density=0.5)
    )
    ratio = float(many_zeros.time_per_output_token / many.time_per_output_token)
    assert ratio == pytest.approx(1.0, abs=1e-6)


def model(name: str, **values: float) -> Transformer:
    found = load_model(name)
    return found.replace(**{k: jnp.asarray(v) for k, v in values.items()})


def nats(name: str, constants: QualityConstants, **values: float) -> float:
    """Loss in nats of the first law that zeros add."""
    base = model(name)
    found = quality(model(name, **values), reference=base, constants=constants)
    scale = float(jnp.sum(constants.laws.delta_scale * constants.laws.weight))
    return float(found.terms.sparse_weights + found.terms.sparse_activations) / scale


@pytest.mark.parametrize("rise", [10.17 / 5.12, 8.27 / 4.57, 5.16 / 3.12])
def test_pruning_costs_what_llama_2_lost(*, constants: QualityConstants, rise: float):
    """2:4 of 7B, 13B and 70B: published perplexities within a fifth."""
    found = nats("llama-2-70b", constants, weight_density=0.5)
    per_text = float(constants.precision.text_factor)
    assert found / per_text == pytest.approx(np.log(rise), rel=0.2)


def test_scores_fall_as_published(
    *, constants: QualityConstants, trained: QualityConstants
):
    """Llama-3.1 8B: 65 to 29 MMLU pruned in one shot, 65 to 61 distilled."""
    base, half = model("llama-3-8b"), model("llama-3-8b", weight_density=0.5)
    scores = [
        float(quality(m, reference=base, constants=k).mmlu)
        for m, k in ((base, constants), (half, constants), (half, trained))
    ]
    assert scores[1] < 0.45
    assert 0.02 < scores[0] - scores[2] < 0.08


@pytest.mark.parametrize("field", ["weight_density", "activation_density"])
def test_more_zeros_are_never_better(
    *, constants: QualityConstants, trained: QualityConstants, field: str
):
    base = model("llama-3-70b")
    for known in (constants, trained):
        gaps = [
            float(
                quality(
                    model("llama-3-70b", **{field: d}), reference=base, constants=known
                ).gap
            )
            for d in (1.0, 0.9, 0.75, 0.5, 0.3)
        ]
        assert gaps[0] == 0.0
        assert np.all(np.diff(gaps) > 0)


def test_beyond_the_pattern_is_extrapolated(constants: QualityConstants):
    base = model("llama-3-70b")
    for values, outside in (
        ({"weight_density": 0.5}, False),
        ({"weight_density": 0.4}, True),
        ({"activation_density": 0.35}, False),
        ({"activation_density": 0.2}, True),
    ):
        found = quality(
            model("llama-3-70b", **values), reference=base, constants=constants
        )
        assert bool(is_extrapolated(found.validity)) == outside, values


def test_slopes_are_finite_at_every_density(
    *, constants: QualityConstants, trained: QualityConstants
):
    base = model("llama-3-70b")

    def gap(at: jax.Array, known: QualityConstants) -> Any:
        moved = base.replace(weight_density=at[0], activation_density=at[1])
        return quality(moved, reference=base, constants=known).gap

    for known in (constants, trained):
        slope = jax.jit(
            jax.grad(gap, argnums=(0, 1)), compiler_options=cpu_options(level=0)
        )
        for ends in ((1.0, 1.0), (0.5, 0.5), (1e-3, 1e-3), (0.75, 1.0)):
            assert tree_finite(slope(jnp.array(ends), known))


def test_a_share_above_one_is_a_fault():
    faults = design_faults(placed(model__weight_density=1.5))
    assert "above 1" in faults["model.weight_density"]


def test_a_study_may_choose_the_pattern():
    study = load_study(
        "joint_chat",
        overrides=(
            "free.model.weight_density={choices: [0.5, 1]}",
            "free.model.activation_density={min: 0.35, max: 1}",
        ),
    )
    assert [v.path for v in study.free][-2:] == [
        "model.weight_density",
        "model.activation_density",
    ]
