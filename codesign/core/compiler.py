"""How are large functions compiled on a CPU? Options for ``jax.jit``."""

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import jax
from jax.core import Tracer

NEWEST = (("xla_cpu_experimental_ynn_fusion_type", "LIBRARY_FUSION_TYPE_DOT"),)

P = ParamSpec("P")
R = TypeVar("R")


def cpu_options(*, level: int = 1) -> dict[str, bool | int | str]:
    """Compiler options that halve compile time on a CPU at no less speed.

    ``level`` is that of LLVM's optimisation; 0 compiles twice as fast again and
    runs at a quarter of the speed, for what runs once or twice. Sums are compiled
    with what they sum, not handed to a library one by one, where XLA knows how.
    """
    if jax.default_backend() != "cpu":
        return {}
    options = {
        "xla_cpu_use_fusion_emitters": False,
        "xla_backend_optimization_level": level,
    }
    return options | {name: value for name, value in NEWEST if _is_known(name, value)}


@cache
def _is_known(name: str, value: str) -> bool:
    """Whether this version of XLA takes an option that may be renamed."""
    try:
        jax.jit(lambda: 0.0, compiler_options={name: value})()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def jitted(
    *, level: int = 1, static_argnames: tuple[str, ...] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """``jax.jit`` with ``cpu_options(level)``, as a decorator.

    Options are read at the first call, when JAX knows its backend. Inside other
    transformations they are left out, since they belong to the outermost jit.
    Level 0 suits functions of one design: they wait for dispatch, not for
    arithmetic.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        inner = jax.jit(function, static_argnames=static_argnames)

        @cache
        def outermost() -> Callable[P, R]:
            options = cpu_options(level=level)
            return jax.jit(
                function, static_argnames=static_argnames, compiler_options=options
            )

        @wraps(function)
        def call(*args: P.args, **named: P.kwargs) -> R:
            leaves = jax.tree.leaves((args, named))
            traced = any(isinstance(leaf, Tracer) for leaf in leaves)
            return (inner if traced else outermost())(*args, **named)

        return call

    return decorate
