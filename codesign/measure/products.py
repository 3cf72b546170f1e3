"""How fast are matrix products of a number format, and in what do they really run?

Rows, edge and format -> a chain of dependent products, and the type of the operands
of the products that the compiler made of it.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from codesign.core.quantities import Bytes

REPEATS = 8  # dependent products in one program, so that its launch is small
NARROW = 8  # bits up to which a format has too small a range for unscaled results
XLA_NAMES = {
    "float32": "f32",
    "bfloat16": "bf16",
    "float8_e4m3fn": "f8e4m3fn",
}
"""Formats of products, and what XLA calls them."""

Weights = tuple[Array, ...]
_TYPED = re.compile(r"%?([\w.\-]+) = \(?([a-z]\w*)\[")
_PRODUCT = re.compile(
    r" (?:dot|convolution|(custom-call))\(([^)]*)\)"
    r"(?:.*custom_call_target=\"([^\"]*)\")?"
)
_LIBRARY = re.compile(r"gemm|matmul|dot", re.IGNORECASE)


@dataclass(frozen=True)
class Products:
    """Operands of a chain of products of (rows, edge) by (edge, edge)."""

    x: Array
    weights: Weights

    @property
    def traffic(self) -> Bytes:
        """Bytes of a product that moves each operand and its result once."""
        return float(self.weights[0].nbytes + 2 * self.x.nbytes)

    def compiled(self) -> tuple[Callable[[], Array], str]:
        """The chain as a program, and the operands' type in it by XLA's name."""
        program = chain.lower(self.x, self.weights).compile()
        return lambda: program(self.x, self.weights), operand_type(
            program.as_text() or ""
        )


def num_weights(size: int, *, dtype: jnp.dtype, beyond: Bytes) -> int:
    """Weights in a chain: as many as exceed the caches, at most one per product.

    n = min(8, ceil(beyond / (edge^2 bytes)))
    """
    return min(REPEATS, max(1, math.ceil(beyond / (size**2 * dtype.itemsize))))


def drawn_weights(
    draw: np.random.Generator, size: int, *, dtype: jnp.dtype, number: int
) -> Weights:
    """Random square weights; formats of 8 bits keep the spread of one."""
    spread = 1.0 if is_narrow(dtype) else size**-0.5

    def values() -> NDArray[np.float32]:
        return draw.standard_normal((size, size), np.float32) * np.float32(spread)

    return tuple(jnp.asarray(values(), dtype) for _ in range(number))


def is_narrow(dtype: jnp.dtype) -> bool:
    """Whether a format has 8 bits or fewer."""
    return 8 * dtype.itemsize <= NARROW


def operand_type(program: str) -> str:
    """Type of the operands of the products in a compiled program, by XLA's name.

    Several types are joined by a plus sign; empty if no product is found, as where
    the compiler calls a library by an unknown name.

    Example:
        A product that the compiler widens before it multiplies:

        >>> operand_type('''
        ... %a = f32[2,4]{1,0} convert(%x)
        ... %b = f32[4,4]{1,0} convert(%w)
        ... ROOT %y = f32[2,4]{1,0} dot(%a, %b), lhs_contracting_dims={1}''')
        'f32'
    """
    types = dict(_TYPED.findall(program))
    found: set[str] = set()
    for called, operands, target in _PRODUCT.findall(program):
        if called and not _LIBRARY.search(target):
            continue
        names = re.findall(r"%?([\w.\-]+)(?:,|$)", operands)[:2]
        found |= {types[name] for name in names if name in types}
    return "+".join(sorted(found))


@jax.jit
def chain(x: Array, weights: Weights) -> Array:
    """Products each of which needs the one before, results in the operands' format."""
    for repeat in range(REPEATS):
        x = _product(x, weights[repeat % len(weights)])
    return x


def _product(x: Array, weight: Array) -> Array:
    """X W^T, scaled back into the range of 8-bit formats."""
    inner = (((1,), (1,)), ((), ()))
    if not is_narrow(x.dtype):
        return jax.lax.dot_general(x, weight, inner)
    wide = jnp.bfloat16
    y = jax.lax.dot_general(x, weight, inner, preferred_element_type=wide)
    most = jnp.asarray(jnp.finfo(x.dtype).max, wide)
    scaled = y * jnp.asarray(weight.shape[0] ** -0.5, wide)
    return jax.lax.clamp(-most, scaled, most).astype(x.dtype)
