"""Is the process set up so that results can be right?"""

import jax

from codesign.core.errors import Float64DisabledError


def enable_x64() -> None:
    """Turn 64-bit floats on in JAX for this process."""
    jax.config.update("jax_enable_x64", True)


def check_x64() -> None:
    """Raise unless 64-bit floats are on.

    In float32 the second derivatives of FLOP / peak come out zero or with the
    wrong sign, so results would be wrong without any visible failure.
    """
    if not jax.config.read("jax_enable_x64"):
        msg = "64-bit floats are off. Call codesign.enable_x64() first."
        raise Float64DisabledError(msg)
