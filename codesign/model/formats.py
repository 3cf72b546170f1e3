"""How wide is a number really, and which format does the hardware run?

Bits of a number format -> bits moved per element, the next supported format,
and values known at 4, 8 and 16 bit read in between. Every function takes
relaxed bits, so that a search may pass through formats that do not exist.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from codesign.core.errors import InputError
from codesign.core.quantities import Bits, Count, Factor, Fraction, Scalar
from codesign.core.smooth import Sharpness, saturate

TOLERANCE = 1e-6
UNSCALED_BITS = 8.0  # from here on the scale of an element is not counted
BLOCK_SCALE_BITS = 32.0 / 128**2  # fp8 in blocks of 128 x 128 weights, one float each
LARGEST_BLOCK_SCALE = 0.05  # of weights in 8 bit that have one scale per block
LARGEST_GROUP_SCALE = 0.2  # of 4-bit integers, 16 + 4 bit over 128; MXFP4 has 0.25
LARGEST_MX_SCALE = 0.375  # between MXFP4 and NVFP4, 0.5
MX_SCALE_BITS = 0.25  # 8 bit over 32 weights

GROUPED_INTEGERS = ("gptq", "awq")


def effective_bits(bits: Bits, *, scale_bits: Bits) -> Array:
    """Bits moved per element, the shared scale of block formats included.

    b_eff = b + b_scale * clip((8 - b) / 4, 0, 1)

    Assumes: formats of 8 and 16 bit carry one scale per tensor, channel or large
    block, which is not counted, formats of 4 bit and less one per small block: MXFP4
    8 bit over 32 elements (0.25), also where a model in 8 bit has large blocks; NVFP4
    8 bit over 16 (0.5).
    Source: OCP Microscaling Formats (MX) Specification v1.0, 2023.

    Example:
        >>> float(effective_bits(4.0, scale_bits=0.25))
        4.25
        >>> float(effective_bits(8.0, scale_bits=0.25))
        8.0
    """
    return jnp.asarray(bits + _scale(scale_bits) * saturate((8.0 - bits) / 4.0))


def element_bits(stored: Bits, *, scale_bits: Bits) -> Array:
    """Bits of an element without its share of a scale: ``effective_bits`` undone.

    b = (b_eff - 2 b_scale) / (1 - b_scale / 4) below 8 bit, b_eff from there on

    Example:
        >>> float(element_bits(4.25, scale_bits=0.25))
        4.0
        >>> float(element_bits(16.0, scale_bits=0.25))
        16.0
    """
    scale, wide = _scale(scale_bits), jnp.asarray(stored)
    narrow = (wide - 2.0 * scale) / (1.0 - scale / 4.0)
    return jnp.where(wide < UNSCALED_BITS, narrow, wide)


def _scale(scale_bits: Bits) -> Array:
    """Bits of scale per element of 4 bit."""
    return jnp.where(is_block_scaled(scale_bits), MX_SCALE_BITS, scale_bits)


def pattern_share(density: Fraction) -> Array:
    """How far weights follow the pattern 2:4, clip(2 (1 - rho), 0, 1).

    0 for dense weights, 1 where half or more of them are zero.
    """
    return saturate(2.0 * (1.0 - jnp.asarray(density)))


def stored_share(density: Fraction, *, bits: Bits, index_bits: Bits) -> Array:
    """Bits stored of sparse weights over those of dense ones, indices included.

    rho (1 + i p / b), p the share of the pattern

    Assumes: one index per kept weight: 2 bit in a group of four, as NVIDIA's
    compressed format keeps them.
    Source: Mishra et al., "Accelerating sparse deep neural networks", arXiv
    2104.08378.

    Example:
        >>> float(stored_share(0.5, bits=16.0, index_bits=2.0))
        0.5625
        >>> float(stored_share(1.0, bits=16.0, index_bits=2.0))
        1.0
    """
    return jnp.asarray(density * (1.0 + index_bits * pattern_share(density) / bits))


def touched_share(density: Fraction, tokens: Count) -> Array:
    """Inputs of a layer that any token of a step needs, 1 - (1 - p)^T.

    Weights of inputs that are zero for all tokens are not read: at one token a
    share p of them is, at many tokens all are.

    Assumes: zeros fall independently by token; real ones cluster, which helps.

    Example:
        >>> float(touched_share(1.0, 64.0)), float(touched_share(0.5, 1.0))
        (1.0, 0.5)
    """
    missing = 1.0 - jnp.asarray(density)
    some = missing > 0.0
    power = jnp.maximum(tokens, 1.0) * jnp.log(jnp.where(some, missing, 1.0))
    return 1.0 - jnp.where(some, jnp.exp(power), 0.0)


def is_block_scaled(scale_bits: Bits) -> Array:
    """Whether weights in 8 bit have a scale per block, by the bits of it per weight.

    A scale of 0.05 bit or more belongs to a format of 4 bit: MXFP4 0.25, NVFP4 0.5.

    Example:
        >>> bool(is_block_scaled(BLOCK_SCALE_BITS)), bool(is_block_scaled(0.25))
        (True, False)
    """
    scale = jnp.asarray(scale_bits)
    return (scale > 0) & (scale < LARGEST_BLOCK_SCALE)


def class_of_four_bits(
    scale_bits: Bits, *, integer: Factor, mx: Factor, nv: Factor
) -> Array:
    """Value of the class of 4-bit formats that scales of so many bits per weight tell.

    Example:
        >>> float(class_of_four_bits(0.5, integer=1.0, mx=2.0, nv=3.0))
        3.0
    """
    scale = jnp.asarray(scale_bits)
    block = jnp.where(scale < LARGEST_MX_SCALE, mx, nv)
    grouped = (scale < LARGEST_GROUP_SCALE) & ~is_block_scaled(scale)
    return jnp.where(grouped, integer, block)


def interpolate_by_bits(
    bits: Bits, *, at_4: Factor, at_8: Factor, at_16: Factor
) -> Array:
    """Value at a relaxed width from the values at 4, 8 and 16 bit.

    v(b) = v_4^w_4 * v_8^w_8 * v_16^w_16: log v is piecewise linear in log2 b,
    hence a power law between two widths, exact at the three, flat outside.

    Assumes: values > 0.

    Example:
        >>> round(float(interpolate_by_bits(8.0, at_4=4.0, at_8=2.0, at_16=1.0)), 9)
        2.0
    """
    octaves = jnp.log2(jnp.clip(bits, 4.0, 16.0)) - 2.0
    upper = saturate(octaves - 1.0)
    lower = saturate(1.0 - octaves)
    log_4, log_8, log_16 = (jnp.log(v) for v in (at_4, at_8, at_16))
    return jnp.exp(lower * log_4 + (1.0 - lower - upper) * log_8 + upper * log_16)


def supported_bits(bits: Scalar, *, sharpness: Sharpness) -> Array:
    """Width of the format that the hardware runs: 4, 8 or 16 bit.

    Hard: rounded up to the next of the three. Smooth: the width itself,
    clipped to [4, 16], which agrees with the hard one at the three.

    Assumes: a width above 16 bit runs as 16 bit, one below 4 bit as 4 bit.

    Example:
        >>> [int(supported_bits(b, sharpness=None)) for b in (3.0, 4.25, 8.0, 9.0)]
        [4, 8, 8, 16]
        >>> float(supported_bits(6.0, sharpness=256.0))
        6.0
    """
    if sharpness is not None:
        return jnp.clip(bits, 4.0, 16.0)
    above_4 = jnp.asarray(bits) > 4.0 + TOLERANCE
    above_8 = jnp.asarray(bits) > 8.0 + TOLERANCE
    return jnp.where(above_8, 16.0, jnp.where(above_4, 8.0, 4.0))


def quantized_formats(quantization: Any) -> dict[str, float]:
    """Format fields that a Hugging Face ``quantization_config`` sets.

    fp8 quantises weights and activations, with a scale per tensor, channel or block of
    128 x 128 weights (``weight_block_size``); MXFP4 keeps 16 bit outside of the
    expert and FFN weights; GPTQ and AWQ store integers with a 16-bit scale and
    a zero point per group of weights, (16 + b) / group bits per element.

    Example:
        >>> quantized_formats({"quant_method": "fp8"})
        {'weight_bits': 8.0, 'activation_bits': 8.0}
    """
    if not quantization:
        return {}
    if not isinstance(quantization, Mapping):
        raise InputError(f"quantization_config is {quantization!r}, not a mapping.")
    method = quantization.get("quant_method")
    if method in ("fp8", "fbgemm_fp8"):
        blocks = bool(quantization.get("weight_block_size"))
        scale = {"scale_bits": BLOCK_SCALE_BITS} if blocks else {}
        return {"weight_bits": 8.0, "activation_bits": 8.0, **scale}
    if method == "mxfp4":
        return {"weight_bits": 4.0, "scale_bits": 0.25, "min_attention_bits": 16.0}
    if method in GROUPED_INTEGERS:
        return _grouped_integers(quantization, method)
    raise InputError(
        f"quantization_config.quant_method {method!r} is not supported. Known: fp8, "
        f"fbgemm_fp8, mxfp4, {', '.join(GROUPED_INTEGERS)}. Remove the section to "
        "import the 16-bit model and set weight_bits and activation_bits yourself."
    )


def _grouped_integers(quantization: Mapping[str, Any], method: str) -> dict[str, float]:
    needed = {name: quantization.get(name) for name in ("bits", "group_size")}
    numbers = {k: float(v) for k, v in needed.items() if isinstance(v, int | float)}
    if absent := sorted(needed.keys() - numbers.keys()):
        raise InputError(
            f"quantization_config of method {method!r}: {', '.join(absent)} missing"
        )
    bits, group = numbers["bits"], numbers["group_size"]
    scale = (16.0 + bits) / group if group > 0 else 0.0
    return {"weight_bits": bits, "scale_bits": scale}
