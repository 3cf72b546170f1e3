"""Which legal combination of counts lies nearest to an illegal one?

Values of variables, rules that tie them -> values that keep every rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from math import prod

import numpy as np
from numpy.typing import NDArray

from codesign.config.couplings import Presolved, Rule, connected, first_legal
from codesign.config.variables import ROUNDING

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
MOST_MOVED = 3  # counts that change together before any legal combination is taken
MOST_TRIALS = 400_000  # combinations of their values that are listed at once


class Ties:
    """Rules of a study on the columns of its variables, group by group.

    Rules belong to one group where they share a free variable. As few counts as
    possible change, by as little as possible (sum of |ln|).
    """

    def __init__(self, found: Presolved, paths: Sequence[str]) -> None:
        self.found = found
        self.groups = [_Group(group, paths) for group in connected(found)]

    def broken(self, values: Floats, *, mask: Mask) -> NDArray[np.bool_]:
        """Which rows break a rule; a held count that is not whole breaks none."""
        bad = np.zeros(values.shape[:-1], bool)
        for group in self.groups:
            bad |= group.broken(values, mask=mask)
        return bad

    def mend(self, values: Floats, *, mask: Mask) -> Floats:
        """The rows with every rule kept by the counts that the mask lets move.

        A row stays where what is held allows none.
        """
        for group in self.groups:
            if mask[group.columns].any():
                values = group.mend(values, mask=mask)
        return values


def join_ties(
    each: Mapping[str, Ties],
    names: Mapping[str, Mapping[str, str]],
    *,
    paths: Sequence[str],
) -> Ties:
    """The rules of all cases at once, on counts that the cases may share.

    ``names`` gives by case the name of each of its variables in the joint space
    whose columns are ``paths``. A shared count keeps the values that every case
    allows.
    """
    rules: dict[tuple[str, ...], Rule] = {}
    domains: dict[str, Floats] = {}
    fixed: dict[str, float] = {}
    for case, ties in each.items():
        found = ties.found
        named = {p: names[case].get(p, f"{p} [{case}]") for p in _paths(found)}
        for rule in found.rules:
            renamed = tuple(named[path] for path in rule.paths)
            rules[rule.name, *renamed] = replace(rule, paths=renamed)
        for path, values in found.domains.items():
            known = domains.get(named[path], values)
            domains[named[path]] = np.intersect1d(known, values)
        fixed |= {named[p]: v for p, v in found.fixed.items() if p in named}
    return Ties(Presolved(tuple(rules.values()), domains, fixed), paths)


def _paths(found: Presolved) -> set[str]:
    return {path for rule in found.rules for path in rule.paths}


class _Group:
    """Rules that share variables; what was mended once is remembered."""

    def __init__(self, found: Presolved, paths: Sequence[str]) -> None:
        self.found = found
        used = _paths(found) & set(found.domains)
        self.places = {path: i for i, path in enumerate(paths) if path in used}
        self.columns = np.array(list(self.places.values()), int)
        self._known: dict[bytes, Floats] = {}

    def broken(self, values: Floats, *, mask: Mask) -> NDArray[np.bool_]:
        named = {path: values[..., i] for path, i in self.places.items()}
        bad = np.zeros(values.shape[:-1], bool)
        for rule in self.found.rules:
            bad |= ~rule.kept({**self.found.fixed, **named}) & self._decided(
                rule, values, mask=mask
            )
        return bad

    def mend(self, values: Floats, *, mask: Mask) -> Floats:
        rows = values.reshape(-1, values.shape[-1])
        broken = np.flatnonzero(self.broken(rows, mask=mask))
        if not broken.size:
            return values
        rows = rows.copy()
        for index in broken:
            key = rows[index, self.columns].tobytes() + mask[self.columns].tobytes()
            if key not in self._known:
                nearest = self._nearest(rows[index], mask=mask)
                self._known[key] = nearest[self.columns]
            rows[index, self.columns] = self._known[key]
        return rows.reshape(values.shape)

    def _decided(self, rule: Rule, values: Floats, *, mask: Mask) -> NDArray[np.bool_]:
        """Whether all counts of a rule are whole or about to be."""
        known = np.ones(values.shape[:-1], bool)
        for path in rule.paths:
            column = self.places.get(path)
            if column is not None and not mask[column]:
                held = values[..., column]
                known &= np.abs(held - np.round(held)) <= ROUNDING * held
        return known

    def _nearest(self, row: Floats, *, mask: Mask) -> Floats:
        movable = [path for path, column in self.places.items() if mask[column]]
        for count in range(1, MOST_MOVED + 1):
            best, least = row, np.inf
            for trials, moved in self._trials(row, movable, count=count):
                legal = trials[~self.broken(trials, mask=mask)]
                if not len(legal):
                    continue
                far = np.abs(np.log(legal[:, moved] / row[moved])).sum(axis=1)
                nearest = int(np.argmin(far))
                if far[nearest] < least * (1 - ROUNDING):
                    best, least = legal[nearest], float(far[nearest])
            if np.isfinite(least):
                return best
        return self._any(row, movable)

    def _trials(
        self, row: Floats, movable: Sequence[str], *, count: int
    ) -> Iterator[tuple[Floats, list[int]]]:
        """Copies of a row with all values of ``count`` variables, and their columns."""
        for paths in combinations(movable, count):
            lists = [self.found.domains[path] for path in paths]
            size = prod(len(values) for values in lists)
            if size > MOST_TRIALS:
                continue
            moved = [self.places[path] for path in paths]
            trials = np.tile(row, (size, 1))
            trials[:, moved] = np.array(list(product(*lists)), float)
            yield trials, moved

    def _any(self, row: Floats, movable: Sequence[str]) -> Floats:
        """Any legal combination of the movable counts; the row if there is none."""
        held = {p: float(row[i]) for p, i in self.places.items() if p not in movable}
        order = sorted(movable, key=lambda path: len(self.found.domains[path]))
        chosen = first_legal(self.found, order, fixed=held) or {}
        mended = row.copy()
        for path in movable if chosen else ():
            mended[self.places[path]] = chosen[path]
        return mended
