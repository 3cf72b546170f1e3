"""Number formats: exact at the formats that exist, usable in between."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.core.errors import InputError
from codesign.model.formats import (
    effective_bits,
    interpolate_by_bits,
    quantized_formats,
    supported_bits,
)

RATES = {"at_4": 4.5, "at_8": 2.0, "at_16": 1.0}


@pytest.mark.parametrize(
    ("bits", "scale", "expected"),
    [(4, 0.25, 4.25), (4, 0.5, 4.5), (2, 0.25, 2.25), (8, 0.5, 8), (16, 0.25, 16)],
)
def test_scales_of_block_formats_count(*, bits: float, scale: float, expected: float):
    assert float(effective_bits(bits, scale_bits=scale)) == pytest.approx(expected)


def test_more_bits_are_never_fewer_effective_bits():
    bits = jnp.linspace(1.0, 20.0, 200)
    assert bool(jnp.all(jnp.diff(effective_bits(bits, scale_bits=0.5)) > 0))


@pytest.mark.parametrize(("bits", "expected"), [(4, 4.5), (8, 2), (16, 1), (2, 4.5)])
def test_interpolation_meets_the_known_values(bits: float, expected: float):
    assert float(interpolate_by_bits(bits, **RATES)) == pytest.approx(expected)


def test_interpolation_is_a_power_law_between_two_formats():
    middle = interpolate_by_bits(2.0**2.5, **RATES)
    assert float(middle) == pytest.approx(np.sqrt(4.5 * 2.0))


@pytest.mark.parametrize("sharpness", [None, 256.0])
@pytest.mark.parametrize("bits", [4.0, 8.0, 16.0])
def test_hard_and_smooth_formats_agree_where_formats_exist(
    bits: float, sharpness: float | None
):
    assert float(supported_bits(bits, sharpness=sharpness)) == bits


def test_hard_format_rounds_up_and_forgives_rounding_errors():
    given = jnp.array([1.6, 4.0 + 1e-12, 4.25, 8.0 + 1e-12, 9.0, 32.0])
    np.testing.assert_array_equal(
        supported_bits(given, sharpness=None), [4, 4, 8, 8, 16, 16]
    )


def test_gradients_are_finite_on_and_between_formats():
    def total(bits: jax.Array) -> jax.Array:
        return (
            effective_bits(bits, scale_bits=0.25)
            + interpolate_by_bits(bits, **RATES)
            + supported_bits(bits, sharpness=256.0)
        )

    slopes = jax.vmap(jax.jit(jax.grad(total)))(jnp.array([2.0, 4, 5, 8, 11, 16, 20]))
    assert bool(jnp.all(jnp.isfinite(slopes)))


def test_quantisation_of_checkpoints():
    grouped = quantized_formats({"quant_method": "gptq", "bits": 4, "group_size": 128})
    assert grouped == {"weight_bits": 4.0, "scale_bits": pytest.approx(0.156, abs=1e-3)}
    assert quantized_formats({"quant_method": "mxfp4"})["min_attention_bits"] == 16.0
    assert quantized_formats(None) == {}


def test_unknown_and_incomplete_quantisation_are_named():
    with pytest.raises(InputError, match=r"'exl2' is not supported.*mxfp4"):
        quantized_formats({"quant_method": "exl2"})
    with pytest.raises(InputError, match=r"'awq'.*bits, group_size missing"):
        quantized_formats({"quant_method": "awq"})
