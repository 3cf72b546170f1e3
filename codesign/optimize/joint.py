"""How do many cases become one problem? Shared and own variables, one answer.

Values of a joint point and the answers of all cases -> values by case, and one
objective with one list of constraints. A case is a workload, a pool of chips, or a
draw of uncertain constants.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp

from codesign.config.variables import Variable
from codesign.core.smooth import Sharpness
from codesign.optimize.repair import join_ties
from codesign.optimize.space import Floats, Space
from codesign.quality.ensemble import quantile, smooth_quantile

MEAN, WORST, CHANCE, POOLS = "mean", "worst", "chance", "pools"
FIRST, LAST, SUM, TOTAL, BOTH = range(5)
"""About which pools a constraint is: one, both by their weights, both, or each."""


@dataclass(frozen=True)
class Joint:
    """What fixes the trace of a joint problem.

    ``columns`` says for each case which variable of the joint point each of its
    own takes; ``varied`` which leaves of the parameters have an axis of cases.
    Under ``CHANCE`` a limit holds in the share ``level`` of the cases, and the
    objective is the mean, or the quantile ``objective``. Under ``POOLS`` two cases
    are the halves of one service, and ``ways`` says what each constraint is about.
    Else all limits of
    all cases hold.
    """

    names: tuple[str, ...]
    columns: tuple[tuple[int, ...], ...]
    judge: str = MEAN
    level: float = 0.0
    objective: float | None = None
    varied: tuple[bool, ...] = ()
    ways: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[Any, ...]:
        """All that fixes the trace."""
        judged = (self.judge, self.level, self.objective, self.ways)
        return (len(self.names), self.columns, self.varied, judged)

    def constraint_names(self, each: Sequence[str]) -> tuple[str, ...]:
        """Names of the joint constraints, given those of one case."""
        if self.judge == CHANCE:
            return tuple(f"{name} at {self.level:g}" for name in each)
        if self.judge == POOLS:
            return tuple(
                f"{each[i]} [{self.names[row]}]" if self.ways[i] == BOTH else each[i]
                for row, i in self.rows
            )
        return tuple(f"{name} [{case}]" for case in self.names for name in each)

    def sources(self, number: int) -> tuple[tuple[int, int], ...]:
        """Case and place of every joint constraint, of ``number`` in each case.

        One about both pools, or about all draws, is of the first.
        """
        if self.judge == POOLS:
            return tuple((int(row == LAST), place) for row, place in self.rows)
        cases = 1 if self.judge == CHANCE else len(self.names)
        return tuple((case, i) for case in range(cases) for i in range(number))

    @property
    def rows(self) -> list[tuple[int, int]]:
        """Under ``POOLS`` where each joint constraint comes from: way and place."""
        return [
            (row, i)
            for i, way in enumerate(self.ways)
            for row in ((FIRST, LAST) if way == BOTH else (way,))
        ]

    def split(self, values: Any) -> Any:
        """Values of the variables of every case at a joint point."""
        return values[..., np.array(self.columns)]


def combine(
    joint: Joint,
    found: tuple[Array, Array],
    *,
    mix: Array,
    sharpness: Sharpness,
) -> tuple[Array, Array]:
    """One logarithmic objective and the constraints that stand for all cases.

    mean   f = ln sum_i exp(f_i + m_i),  m_i = ln weight
    worst  f = max_i (f_i + m_i),  m_i = -ln objective of the specialist
    chance g = Q_p(g_i) for every limit; f = ln mean exp(f_i), or a quantile
    pools  f as under mean; g of one pool, of each, or ln sum_i exp(g_i + m_i)

    Smooth maxima are p-norms, ln sum exp(p x) / p, which lie above the largest.

    Source: docs/theory/search.md; quantiles as in ``quality.ensemble``.
    """
    objective, constraints = found
    each = objective + mix
    if joint.judge == WORST:
        return _largest(each, sharpness=sharpness), constraints.reshape(-1)
    if joint.judge == POOLS:
        own, mixed = constraints, constraints + mix[:, None]
        ways = jnp.stack([*own, logsumexp(mixed, axis=0), logsumexp(own, axis=0)])
        way, place = np.array(joint.rows).T
        return logsumexp(each), ways[way, place]
    if joint.judge == MEAN:
        return logsumexp(each), constraints.reshape(-1)
    level = joint.objective
    value = (
        logsumexp(each)
        if level is None
        else _quantile(objective, level, sharpness=sharpness)
    )
    held = jax.vmap(lambda g: _quantile(g, joint.level, sharpness=sharpness), in_axes=1)
    return jnp.asarray(value), held(constraints)


def _largest(values: Array, *, sharpness: Sharpness) -> Array:
    if sharpness is None:
        return jnp.max(values)
    return logsumexp(sharpness * values) / sharpness


def _quantile(values: Array, level: float, *, sharpness: Sharpness) -> Array:
    exact = sharpness is None
    return quantile(values, level) if exact else smooth_quantile(values, level)


def stack(cases: Sequence[Any]) -> tuple[Any, tuple[bool, ...]]:
    """Parameters of all cases in one tree; only leaves that differ get an axis."""
    leaves = [jax.tree.leaves(case) for case in cases]
    inside = jax.tree.structure(cases[0])
    together: list[Any] = []
    varied: list[bool] = []
    for column in zip(*leaves, strict=True):
        first = np.asarray(column[0])
        same = all(np.array_equal(first, np.asarray(leaf)) for leaf in column[1:])
        varied.append(not same)
        together.append(
            column[0] if same else jnp.stack(list(map(jnp.asarray, column)))
        )
    return jax.tree.unflatten(inside, together), tuple(varied)


def unstack(joint: Joint, tree: Any, *, case: int) -> Any:
    """The parameters of one case of a stacked tree."""
    leaves = zip(jax.tree.leaves(tree), joint.varied, strict=True)
    own = [leaf[case] if varied else leaf for leaf, varied in leaves]
    return jax.tree.unflatten(jax.tree.structure(tree), own)


def axes(joint: Joint, tree: Any) -> Any:
    """Axes of a stacked tree for ``jax.vmap`` over the cases."""
    marks = [0 if varied else None for varied in joint.varied]
    return jax.tree.unflatten(jax.tree.structure(tree), marks)


def join_spaces(
    spaces: Sequence[Space], names: Sequence[str], *, shared: Sequence[str]
) -> tuple[Space, tuple[tuple[int, ...], ...]]:
    """The space of all cases, and the columns of each case in it.

    The cases have the same variables; ties between their counts may differ. A
    variable under a prefix of ``shared`` stands once; any other once per case,
    its path followed by the name of the case.

    Example: ``deployment.batch [chat]``.
    """
    space = spaces[0]
    common = [v.path.startswith(tuple(shared)) for v in space.variables]
    variables = [v for v, one in zip(space.variables, common, strict=True) if one]
    together = {v.path for v in variables}
    places = {v.path: i for i, v in enumerate(variables)}
    columns: list[tuple[int, ...]] = []
    for name in names:
        row: list[int] = []
        for variable in space.variables:
            if variable.path not in together:
                places[variable.path] = len(variables)
                variables.append(_own(variable, name, together=together))
            row.append(places[variable.path])
        columns.append(tuple(row))
    order = {v.path: i for i, v in enumerate(space.variables)}
    index = [order[v.path.partition(" [")[0]] for v in variables]
    paths = [v.path for v in variables]
    named = {
        case: {v.path: paths[i] for v, i in zip(space.variables, row, strict=True)}
        for case, row in zip(names, columns, strict=True)
    }
    each = {case: own.ties for case, own in zip(names, spaces, strict=True) if own.ties}
    joined = Space(
        variables=tuple(variables),
        low=space.low[index],
        high=space.high[index],
        ties=join_ties(each, named, paths=paths),
    )
    return joined, tuple(columns)


def _own(variable: Variable, name: str, *, together: set[str]) -> Variable:
    high = variable.high_path
    if high is not None and high not in together:
        high = f"{high} [{name}]"
    return replace(variable, path=f"{variable.path} [{name}]", high_path=high)


def gather(joint: Joint, each: Sequence[Floats], *, width: int) -> Floats:
    """The joint point of the values of all cases; shared ones are the first case's."""
    values = np.empty(width)
    for columns, own in reversed(list(zip(joint.columns, each, strict=True))):
        values[list(columns)] = own
    return values
