"""Work of one step by operator name, without tiles, for hand counts."""

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
from jax import Array

from codesign.operators.phases import KINDS, operator_table
from codesign.operators.table import Tiles, Work, work
from codesign.serving.design import Design
from codesign.serving.load import StepTokens

NO_TILES = Tiles(rows=1.0, cols=1.0, inner=1.0, capacity=1e30, activation_share=1.0)
NAMES = tuple(kind.name for kind in KINDS)


def decode(sequences: float, *, context: float) -> StepTokens:
    """A step of decode tokens only."""
    return StepTokens(
        sequences=jnp.asarray(sequences, jnp.float64),
        context=jnp.asarray(context, jnp.float64),
        prefill_tokens=jnp.zeros(()),
        prompts=jnp.zeros(()),
        prefill_context=jnp.zeros(()),
    )


def prefill(tokens: float, *, prompts: float, context: float) -> StepTokens:
    """A step of prefill tokens only, each attending to ``context`` tokens."""
    return decode(0.0, context=0.0).replace(
        prefill_tokens=jnp.asarray(tokens, jnp.float64),
        prompts=jnp.asarray(prompts, jnp.float64),
        prefill_context=jnp.asarray(context, jnp.float64),
    )


@cache
def _compiled() -> Callable[[Design, StepTokens], Work]:
    def run(design: Design, step: StepTokens) -> Work:
        table = operator_table(design, step).table
        return work(table, KINDS, tiles=NO_TILES, sharpness=None)

    return jax.jit(run)


def counted(design: Design, step: StepTokens) -> dict[str, Work]:
    """Work of every operator on one chip and stage pass, by name."""
    done = _compiled()(design, step)
    return {
        name: jax.tree.map(lambda leaf, i=index: leaf[i], done)
        for index, name in enumerate(NAMES)
    }


def total(rows: dict[str, Work], field: str) -> float:
    """Sum of a field over all operators."""
    return float(sum(_value(row, field) for row in rows.values()))


def only(rows: dict[str, Work], field: str, *, containing: str) -> float:
    """Sum of a field over the operators whose name contains a text."""
    picked = [_value(row, field) for name, row in rows.items() if containing in name]
    assert picked, f"no operator is called {containing}"
    return float(sum(picked))


def _value(row: Work, field: str) -> Array:
    return getattr(row, field)
