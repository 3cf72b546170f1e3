"""What does a design cost? The public entry: from a ``Design`` to its ``Cost``."""

from jax.core import Tracer

from codesign.core.checks import check_x64
from codesign.core.compiler import jitted
from codesign.core.quantities import Scalar
from codesign.core.record import as_float64
from codesign.cost.governor import govern, settle
from codesign.cost.record import Cost
from codesign.cost.total import assemble, prepare
from codesign.serving.design import Design
from codesign.serving.load import Load


def evaluate(design: Design, *, load: Load | None = None) -> Cost:
    """Every metric of a design, with its governor and load settled.

    The governor sets the voltage of each kind of step to the largest that the
    power limit allows; with an arrival rate Little's law sets the batch. Hard
    maxima throughout. Pure: ``jax.grad``, ``vmap`` and ``jit`` work from
    outside, and the roots carry implicit derivatives.

    Raises:
        Float64DisabledError: 64-bit floats are off.

    Example:
        ``evaluate(build_design(chip="h100-sxm", num_chips=8, ...)).energy_per_token``
    """
    check_x64()
    design = as_float64(design)
    if load is None and _is_open(design.request.rate):
        design = _settle(design)
    return _evaluate(design, load)


def _is_open(rate: Scalar) -> bool:
    """Whether a rate is given; True for a traced rate, which decides at run time."""
    return isinstance(rate, Tracer) or bool(rate > 0)


_settle = jitted(level=0)(settle)


@jitted(level=0)
def _evaluate(design: Design, load: Load | None) -> Cost:
    ready = prepare(design, load=load)
    return assemble(govern(design, ready), ready)
