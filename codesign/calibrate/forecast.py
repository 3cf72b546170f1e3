"""What does the model say of many measured runs at once?

Runs, and moves of constants -> metrics that were also measured, and their slopes.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from codesign.calibrate.runs import Runs
from codesign.core.compiler import jitted
from codesign.core.paths import get_path, set_path
from codesign.core.quantities import Fraction, JoulesPerToken, Seconds, Watts
from codesign.core.record import Record
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.serving.design import Design
from codesign.serving.load import Load
from codesign.technology.constants import Technology

CHUNK = 64  # rows evaluated at once; the last chunk is filled up with copies
PROMPT = "request.prompt_length"  # moves the load of the window as well


class Forecast(Record):
    """Metrics of one run that were also measured, and the memory it needs.

    ``static_power`` is the part of the power that does not depend on the work;
    ``time_to_first_token`` is NaN in runs of which none measured it.
    """

    inter_token_latency: Seconds
    step_time: Seconds
    power: Watts
    energy_per_token: JoulesPerToken
    static_power: Watts
    memory_fraction: Fraction
    time_to_first_token: Seconds


def forecast(
    runs: Runs, *, paths: tuple[str, ...] = (), shifts: np.ndarray | None = None
) -> Forecast:
    """What the model says of every run, with constants moved by ``shifts``.

    value exp(shift) of the leaf at each path. ``shifts`` has a row per run and a
    column per path, so that a constant can belong to some of the runs only.
    """
    moved = np.zeros((len(runs.rows), len(paths))) if shifts is None else shifts
    parts = [
        _forecast_chunk(chunk, technology=runs.technology, paths=paths)
        for chunk in _cut(runs, moved)
    ]
    return _joined(parts, count=len(runs.rows))


def forecast_slopes(
    runs: Runs, *, paths: tuple[str, ...], shifts: np.ndarray
) -> tuple[Forecast, Forecast]:
    """The forecast and its derivatives in the shifts, a last axis of paths."""
    parts = [
        _slopes_chunk(chunk, technology=runs.technology, paths=paths)
        for chunk in _cut(runs, shifts)
    ]
    values, slopes = zip(*parts, strict=True)
    count = len(runs.rows)
    return _joined(values, count=count), _joined(slopes, count=count)


Chunk = tuple[Design, Load, Any, Any]


def _cut(runs: Runs, shifts: np.ndarray) -> list[Chunk]:
    """The runs in chunks of one size, the last filled up with copies."""
    count = len(runs.rows)
    places = np.minimum(np.arange(-(-count // CHUNK) * CHUNK), count - 1)
    return [
        jax.tree.map(
            lambda leaf, at=at: leaf[at],
            (runs.designs, runs.loads, shifts, runs.burst_shares),
        )
        for at in places.reshape(-1, CHUNK)
    ]


def _joined(parts: Sequence[Forecast], *, count: int) -> Forecast:
    return jax.tree.map(
        lambda *leaves: np.concatenate(leaves)[:count], *jax.device_get(list(parts))
    )


def _one(chunk: Chunk, *, technology: Technology, paths: tuple[str, ...]) -> Forecast:
    design, load, shift, share = chunk
    for place, path in enumerate(paths):
        if path == PROMPT:
            load = _longer_prompts(load, design, factor=jnp.exp(shift[place]))
        else:
            moved = get_path(design, path) * jnp.exp(shift[place])
            design = set_path(design, path, value=moved)
    design = design.replace(technology=technology)
    if share is None:
        cost, first = evaluate(design, load=load), jnp.nan
    else:
        cost, first = _with_burst(design, load, share=share)
    return Forecast(
        inter_token_latency=cost.inter_token_latency,
        step_time=cost.time_per_output_token,
        power=cost.power,
        energy_per_token=cost.energy_per_token,
        static_power=cost.power * cost.breakdown.energy.static / cost.energy_per_token,
        memory_fraction=cost.memory.used / cost.memory.available,
        time_to_first_token=first,
    )


def _with_burst(design: Design, load: Load, *, share: Fraction) -> tuple[Cost, Seconds]:
    """The cost, and the mean time to the first token of all requests of a run.

    (1 - s) TTFT + s TTFT of prompts that come as many at once as run together.
    """
    burst = load.replace(together=load.sequences)
    loads = jax.tree.map(lambda *leaves: jnp.stack(leaves), load, burst)
    costs = jax.vmap(lambda each: evaluate(design, load=each))(loads)
    first = jnp.dot(
        jnp.stack([1 - share, share]), jnp.asarray(costs.time_to_first_token)
    )
    return jax.tree.map(lambda leaf: leaf[0], costs), first


def _longer_prompts(load: Load, design: Design, *, factor: Array) -> Load:
    """The load with prompts longer by a factor, as much of them cached or shared."""
    request = design.request
    own = request.prompt_length * (1 - request.prefix_hit_fraction)
    more = (factor - 1) * own
    context = load.context + more
    return load.replace(
        context=context,
        context_variation=load.context_variation * load.context / context,
        prompt_tokens=load.prompt_tokens * factor,
        hit_tokens=load.hit_tokens * factor,
    )


@jitted(static_argnames=("paths",))
def _forecast_chunk(
    chunk: Chunk, *, technology: Technology, paths: tuple[str, ...]
) -> Forecast:
    return jax.vmap(functools.partial(_one, technology=technology, paths=paths))(chunk)


@jitted(static_argnames=("paths",))
def _slopes_chunk(
    chunk: Chunk, *, technology: Technology, paths: tuple[str, ...]
) -> tuple[Forecast, Forecast]:
    def one(chunk: Chunk) -> tuple[Forecast, Forecast]:
        designs, loads, shift, share = chunk

        def values(shift: Array) -> Forecast:
            moved = (designs, loads, shift, share)
            return _one(moved, technology=technology, paths=paths)

        return values(shift), jax.jacfwd(values)(shift)

    return jax.vmap(one)(chunk)
