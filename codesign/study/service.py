"""What do users of one design get for its joules: per byte, answer and life?

Design and its cost -> ``Service``, with the shipped constants.
"""

import math
from collections.abc import Callable
from functools import cache

import jax

from codesign.config.quality import load_quality_constants
from codesign.core.compiler import cpu_options
from codesign.core.record import as_float64
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.outcome.service import Service
from codesign.outcome.service import service as compute
from codesign.quality.evaluate import benchmark_score
from codesign.serving.design import Design

UNTRAINED = ("accuracy", "training_energy", "lifetime_energy")


def service(design: Design, found: Cost | None = None) -> Service:
    """Cost per byte of text, per answer and over the life of the model.

    ``found`` is the cost of the design where it is known. What rests on training
    tokens is NaN for a model whose file does not say them.

    Example:
        ``service(build_design(chip="h100-sxm", ...)).energy_per_byte_server``
    """
    design = as_float64(design)
    cost = evaluate(design) if found is None else as_float64(found)
    done: Service = _compiled()(design, cost)
    if float(design.model.training_tokens) > 0:
        return done
    return done.replace(**dict.fromkeys(UNTRAINED, math.nan))


@cache
def _compiled() -> Callable[[Design, Cost], Service]:
    """Compiled quickly rather than well: it runs a few times."""
    constants = as_float64(load_quality_constants())

    def one(design: Design, found: Cost) -> Service:
        score = benchmark_score(design.model, constants)
        return compute(design, found, score=score, constants=constants)

    return jax.jit(one, compiler_options=cpu_options(level=0))
