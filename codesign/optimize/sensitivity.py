"""What does one percent more of a parameter change? Exact local slopes.

Design and the name of a metric -> d ln metric / d ln parameter by dotted path.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codesign.core.checks import check_x64
from codesign.core.compiler import cpu_options
from codesign.core.errors import InputError, UnknownNameError
from codesign.core.paths import get_path, nearest, path_units, unknown_path
from codesign.core.quantities import Count
from codesign.core.record import as_float64
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.serving.design import Design
from codesign.serving.load import design_load

RESIDUAL = -1  # place of the residual of Little's law behind the metrics


def elasticities(
    design: Design,
    *,
    of: str = "energy_per_token",
    wrt: Sequence[str] | None = None,
) -> dict[str, float]:
    """Relative change of a metric per relative change of each parameter.

    e_p = d ln metric / d ln p = (p / metric) d metric / d p

    ``wrt`` names leaves, or groups such as ``chip.dram``; without it every leaf
    counts. Parameters that are zero have no relative change and are left out;
    a table counts as one parameter, all of whose entries move together. The
    governor and, with an arrival rate, the batch follow the change.

    Assumes: a small change; at a kink the slope of one side.
    Source: reverse mode of ``evaluate``, implicit at its roots.

    Raises:
        UnknownKeyError: a path of ``wrt`` is no parameter.
        UnknownNameError: the metric is none of ``Cost``.
        InputError: the metric is zero, so it has no relative change.

    Example:
        ``elasticities(design, of="energy_per_token", wrt=["chip.dram.bandwidth"])``
    """
    check_x64()
    paths = _leaves(path_units(Design) if wrt is None else wrt)
    design = _settled(as_float64(design))
    value, slopes = _slopes(design, of)
    if not np.isfinite(value) or value == 0:
        raise InputError(f"{of}: is {value:g} here; it has no relative change.")
    found: dict[str, float] = {}
    for path in paths:
        at = np.asarray(get_path(design, path))
        if np.any(at != 0):
            found[path] = float(np.sum(at * get_path(slopes, path)) / value)
    return found


def _settled(design: Design) -> Design:
    """The design at the batch that its arrival rate keeps running, if it has one."""
    if not bool(design.request.rate > 0):
        return design
    batch = evaluate(design).batch
    return design.replace(deployment=design.deployment.replace(batch=batch))


def _slopes(design: Design, metric: str) -> tuple[float, Design]:
    """Value and gradient of a metric; in open loop the batch follows.

    At a rate the batch B solves r(p, B) = ln B - ln rate - ln(L TPOT) = 0,
    so  dm/dp = m_p - m_B r_p / r_B.
    """
    value, slopes = jax.device_get(_gradient(design, _index(metric)))
    if not bool(design.request.rate > 0):
        return float(value), slopes
    _, residual = jax.device_get(_gradient(design, RESIDUAL))
    ratio = slopes.deployment.batch / residual.deployment.batch
    total = jax.tree.map(lambda m, r: m - ratio * r, slopes, residual)
    return float(value), total


def _gradient(design: Design, index: int) -> tuple[jax.Array, Design]:
    """Value and gradient at a given batch of the entry at one place."""
    return _compiled()(design, index)


@cache
def _compiled() -> Callable[..., Any]:
    """The gradient of one entry; its place is traced, so one program serves all.

    Compiled in half the time at a quarter of the speed: it runs once or twice.
    """
    return jax.jit(jax.value_and_grad(_entry), compiler_options=cpu_options(level=0))


def _entry(design: Design, index: Count) -> jax.Array:
    """A leaf of ``Cost`` at a given batch, or last the residual of Little's law."""
    request, deployment = design.request, design.deployment
    found = evaluate(design, load=design_load(design))
    open_rate = jnp.where(request.rate > 0, request.rate, 1.0)
    decoding = request.output_length * found.time_per_output_token
    residual = jnp.log(deployment.batch / (open_rate * decoding))
    return jnp.stack([*jax.tree.leaves(found), residual])[index]


def _index(metric: str) -> int:
    names = list(path_units(Cost))
    if metric not in names:
        close = nearest(metric, names) or names[:3]
        raise UnknownNameError(
            f"{metric}: no such metric of Cost. Close: {', '.join(close)}."
        )
    return names.index(metric)


def _leaves(names: Iterable[str]) -> list[str]:
    known = list(path_units(Design))
    paths: list[str] = []
    for name in names:
        inside = [path for path in known if path.startswith(f"{name}.")]
        if name not in known and not inside:
            raise unknown_path(Design, name)
        paths += inside or [name]
    return list(dict.fromkeys(paths))
