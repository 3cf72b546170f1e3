"""What is a record? A frozen tree of named quantities that JAX can trace.

Keyword arguments -> an immutable pytree node; behaviour stands in functions.
"""

from collections.abc import Iterator
from typing import Any, TypeVar, dataclass_transform, get_args, get_type_hints

import flax.struct
import jax
import jax.numpy as jnp

from codesign.core.quantities import Unit, unit_of
from codesign.core.show import record_html, record_text

_Tree = TypeVar("_Tree")
NONE = type(None)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Record(flax.struct.PyTreeNode):
    """Frozen, keyword-only record; every leaf is a float64 array.

    Subclasses hold data only. They have no ``__post_init__``, which JAX would
    run again at each transformation; values are checked where they are read.
    A record shows itself as a small table with units, in a notebook and in print.
    """

    def __str__(self) -> str:
        return record_text(self)

    def _repr_html_(self) -> str:
        """The table that a notebook shows."""
        return record_html(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """The text that an IPython terminal shows."""
        printer.text("..." if cycle else str(self))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(kw_only=True, **kwargs)


def as_float64(tree: _Tree) -> _Tree:
    """The same tree with every leaf a float64 array, so that one trace serves all."""
    return jax.tree.map(_as_float64, tree)


def _as_float64(leaf: Any) -> jax.Array:
    if isinstance(leaf, jax.Array) and leaf.dtype == jnp.float64 and not leaf.weak_type:
        return leaf
    return jnp.asarray(leaf, jnp.float64)


def part_of(annotation: Any) -> type[Record] | None:
    """The record type of an annotation such as ``Transformer | None``, else None.

    Example:
        >>> part_of(Record | None) is Record, part_of(Record)
        (True, None)
    """
    parts = get_args(annotation)
    if NONE not in parts:
        return None
    records = [part for part in parts if isinstance(part, type) and part is not NONE]
    return records[0] if records and issubclass(records[0], Record) else None


def field_units(
    record_type: type[Record], prefix: str = ""
) -> Iterator[tuple[str, Unit]]:
    """Dotted path and unit of every leaf that a record type declares.

    Records that may be None are left out.
    """
    for name, annotation in get_type_hints(record_type, include_extras=True).items():
        path = f"{prefix}{name}"
        unit = unit_of(annotation)
        if unit is not None:
            yield path, unit
        elif isinstance(annotation, type) and issubclass(annotation, Record):
            yield from field_units(annotation, f"{path}.")
