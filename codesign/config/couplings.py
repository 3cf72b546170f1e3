"""Which counts of a design are tied to each other by its structure?

Free variables and the baseline -> the rules that bind them, and the values that
some legal combination holds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from codesign.config.bounds import Conflict, legal_values, raise_lows
from codesign.config.variables import ROUNDING, Variable
from codesign.config.yaml import Problems
from codesign.core.paths import get_path
from codesign.serving.design import Design

Floats = NDArray[np.float64]
Holds = Callable[..., NDArray[np.bool_]]

MOST_TUPLES = 2_000_000  # combinations that are listed at once
MOST_TRIED = 20_000  # partial combinations after which a search for one ends
SHOWN = 8  # values of a variable in a message

CHIPS = "system.num_chips"
TENSOR = "deployment.tensor_parallel"
STAGES = "deployment.pipeline_parallel"
RANKS = "deployment.expert_parallel"
HIDDEN = "model.hidden_size"
LAYERS = "model.num_layers"
HEADS = "model.num_heads"
KV_HEADS = "model.num_kv_heads"
EXPERTS = "model.num_experts"
ACTIVE = "model.num_active_experts"


def at_most(part: Floats, whole: Floats) -> NDArray[np.bool_]:
    """Part <= whole."""
    return np.asarray(part) <= np.asarray(whole) * (1 + ROUNDING)


def divides(part: Floats, whole: Floats) -> NDArray[np.bool_]:
    """Whether whole / part is a whole number; nothing divides into zero parts.

    Example:
        >>> divides(np.array([8.0, 6.0, 16.0]), np.array([64.0, 64.0, 8.0])).tolist()
        [True, False, False]
    """
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    ratio = whole / np.where(part > 0, part, 1.0)
    whole_ratio = np.abs(ratio - np.round(ratio)) <= ROUNDING * np.maximum(ratio, 1)
    return (part <= 0) | (whole_ratio & (np.round(ratio) >= 1))


def either_divides(one: Floats, other: Floats) -> NDArray[np.bool_]:
    """Whether one is a whole multiple of the other."""
    return divides(one, other) | divides(other, one)


def _split(*counts: Floats) -> NDArray[np.bool_]:
    """Whether the product of all but the last divides the last."""
    *parts, whole = map(np.asarray, counts)
    return divides(parts[0] * parts[1], whole)


def _ranked(ranks: Floats, experts: Floats) -> NDArray[np.bool_]:
    return at_most(ranks, np.maximum(experts, 1.0))


def _bounded(part: Floats, whole: Floats, *, factor: float) -> NDArray[np.bool_]:
    return at_most(part, factor * np.asarray(whole))


@dataclass(frozen=True)
class Rule:
    """A rule on the values at some paths, with the sentence that states it."""

    name: str
    paths: tuple[str, ...]
    text: str
    holds: Holds

    def kept(self, values: Mapping[str, Floats | float]) -> NDArray[np.bool_]:
        """Whether it holds, by row of the values."""
        return self.holds(*(np.asarray(values[path], float) for path in self.paths))


RULES: tuple[Rule, ...] = (
    Rule(
        "active_experts",
        (ACTIVE, EXPERTS),
        "active experts are at most experts",
        at_most,
    ),
    Rule("kv_heads", (KV_HEADS, HEADS), "KV heads divide heads", divides),
    Rule(
        "hidden_heads",
        (HIDDEN, HEADS),
        "heads divide the hidden size",
        lambda hidden, heads: divides(heads, hidden),
    ),
    Rule("tensor_heads", (TENSOR, HEADS), "tensor parallelism divides heads", divides),
    Rule(
        "tensor_kv_heads",
        (TENSOR, KV_HEADS),
        "tensor parallelism divides KV heads, or copies them a whole number of times",
        either_divides,
    ),
    Rule(
        "chips",
        (TENSOR, STAGES, CHIPS),
        "chips are tensor x pipeline x data parallelism",
        _split,
    ),
    Rule("stages", (STAGES, LAYERS), "stages are at most layers", at_most),
    Rule(
        "expert_ranks",
        (RANKS, STAGES, CHIPS),
        "expert parallelism divides the chips of a stage",
        _split,
    ),
    Rule(
        "expert_groups",
        (RANKS, TENSOR),
        "expert parallelism divides tensor parallelism or is a multiple of it",
        either_divides,
    ),
    Rule(
        "ranked_experts",
        (RANKS, EXPERTS),
        "expert parallelism is at most experts",
        _ranked,
    ),
)
"""Structure of a model and its placement; a die's size is a limit of the cost."""

NAMES = tuple(rule.name for rule in RULES)


@dataclass(frozen=True)
class Presolved:
    """What structure leaves of a study's counts.

    ``domains`` are the values of every tied variable that some combination
    holds, ``fixed`` the values of what is tied but not free. ``conflict`` names
    the variable and the reason where no combination is legal. ``free`` are the
    variables, those that bound another no lower than that one needs.
    """

    rules: tuple[Rule, ...]
    domains: dict[str, Floats]
    fixed: dict[str, float]
    conflict: Conflict | None = None
    free: tuple[Variable, ...] = ()


def presolve(
    free: Sequence[Variable], baseline: Design, *, off: Iterable[str] = ()
) -> Presolved:
    """The rules that bind free counts, and the values that they leave.

    A rule binds where a variable of it is free, all free ones are counts, the
    baseline keeps it and ``off`` does not name it: a baseline with heads of a size
    of their own shows that nothing ties them to the hidden size. A value stays if
    every rule has a partner for it, and what a bound on another variable needs.
    """
    free, conflict = raise_lows(free)
    if conflict is not None:
        return Presolved((), {}, {}, conflict, free)
    values = {variable.path: legal_values(variable) for variable in free}
    rules = (*RULES, *_bounds(free, values))
    fixed = {
        path: float(get_path(baseline, path)) for rule in rules for path in rule.paths
    }
    rules = tuple(
        rule
        for rule in rules
        if rule.name not in off
        and any(path in values for path in rule.paths)
        and not any(path in values and values[path] is None for path in rule.paths)
        and (rule.name not in NAMES or bool(rule.kept(fixed)))
    )
    tied = dict.fromkeys(path for rule in rules for path in rule.paths)
    domains = {p: found for p in tied if (found := values.get(p)) is not None}
    given = {path: fixed[path] for path in tied if path not in domains}
    start = Presolved(rules, domains, given, free=free)
    return _combined(_supported(start), given=domains)


def check_couplings(
    free: Sequence[Variable],
    *,
    baseline: Design,
    off: Iterable[str],
    problems: Problems,
) -> None:
    """Note a problem where no combination of free counts is legal."""
    found = presolve(free, baseline, off=off).conflict
    if found is not None:
        problems.add(f"free.{found[0]}", found[1])


def _bounds(
    free: Sequence[Variable], values: Mapping[str, Floats | None]
) -> list[Rule]:
    """Bounds of counts on other free counts, as rules."""
    return [
        Rule(
            f"{v.path}.max",
            (v.path, v.high_path),
            f"{v.path} is at most {f'{v.high_factor:g} * ' * (v.high_factor != 1)}"
            f"{v.high_path}",
            partial(_bounded, factor=v.high_factor),
        )
        for v in free
        if v.high_path
        and values[v.path] is not None
        and values.get(v.high_path) is not None
    ]


def _supported(found: Presolved) -> Presolved:
    """Without the values that a rule has no partner for; a conflict where none stay."""
    domains = dict(found.domains)
    changed = True
    while changed:
        changed = False
        for rule in found.rules:
            own = [path for path in rule.paths if path in domains]
            if prod(len(domains[path]) for path in own) > MOST_TUPLES:
                continue
            grids = np.meshgrid(*(domains[path] for path in own), indexing="ij")
            kept = rule.kept({**found.fixed, **dict(zip(own, grids, strict=True))})
            if not kept.any():
                reason = _impossible(rule, domains, fixed=found.fixed)
                return replace(found, domains=domains, conflict=(own[0], reason))
            for axis, path in enumerate(own):
                others = tuple(i for i in range(len(own)) if i != axis)
                stay = kept.any(axis=others)
                changed |= not stay.all()
                domains[path] = domains[path][stay]
    return replace(found, domains=domains)


def _combined(found: Presolved, *, given: Mapping[str, Floats]) -> Presolved:
    """A conflict where every pair of values fits but no whole combination does."""
    for group in () if found.conflict else connected(found):
        order = sorted(group.domains, key=lambda path: len(group.domains[path]))
        if first_legal(group, order) is None:
            rules = "; ".join(rule.text for rule in group.rules)
            reason = f"no combination keeps all of: {rules}. {_values(order, given)}"
            return replace(found, conflict=(order[0], reason))
    return found


def connected(found: Presolved) -> list[Presolved]:
    """The rules in groups that share no free variable, each with its variables."""
    groups: list[tuple[set[str], list[Rule]]] = []
    for rule in found.rules:
        own, members = set(found.domains) & set(rule.paths), [rule]
        apart: list[tuple[set[str], list[Rule]]] = []
        for paths, others in groups:
            if paths & own:
                own, members = own | paths, [*others, *members]
            else:
                apart.append((paths, others))
        groups = [*apart, (own, members)]
    return [
        replace(
            found,
            rules=tuple(members),
            domains={p: v for p, v in found.domains.items() if p in paths},
        )
        for paths, members in groups
    ]


def first_legal(
    found: Presolved, order: Sequence[str], *, fixed: Mapping[str, float] | None = None
) -> dict[str, float] | None:
    """A combination that keeps all rules; None if there is none.

    ``order`` lists the variables, ``fixed`` the values of all others. Empty where
    ``MOST_TRIED`` parts did not decide it.
    """
    chosen: dict[str, float] = {**found.fixed, **(fixed or {})}
    tried = 0

    def fits() -> bool:
        ready = (r for r in found.rules if all(p in chosen for p in r.paths))
        return all(bool(rule.kept(chosen)) for rule in ready)

    def extend(depth: int) -> bool:
        nonlocal tried
        if depth == len(order):
            return True
        for value in found.domains[order[depth]]:
            chosen[order[depth]] = float(value)
            tried += 1
            if tried <= MOST_TRIED and fits() and extend(depth + 1):
                return True
        chosen.pop(order[depth], None)
        return False

    if extend(0):
        return chosen
    return {} if tried > MOST_TRIED else None


def _impossible(
    rule: Rule, domains: Mapping[str, Floats], *, fixed: Mapping[str, float]
) -> str:
    shown = _values(rule.paths, domains, fixed=fixed)
    hint = f" or off: [{rule.name}]" if rule.name in NAMES else ""
    return (
        f"no legal combination: {rule.text}, which holds for none of these. {shown} "
        f"Change one of them{hint}."
    )


def _values(
    paths: Sequence[str],
    domains: Mapping[str, Floats],
    *,
    fixed: Mapping[str, float] | None = None,
) -> str:
    """Values by path, as ``model.num_heads 64 (fixed); ...``."""
    parts: list[str] = []
    for path in paths:
        if path in domains:
            values = [f"{value:g}" for value in domains[path]]
            if len(values) > SHOWN:
                values = [*values[:2], "...", values[-1]]
            parts.append(f"{path} {', '.join(values)}")
        elif fixed and path in fixed:
            parts.append(f"{path} {fixed[path]:g} (fixed)")
    return f"{'; '.join(parts)}."
