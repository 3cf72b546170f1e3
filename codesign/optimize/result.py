"""What does a search return? Rungs, the best design and the evidence for it."""

from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from codesign.config.limits import is_difference, metric_units
from codesign.config.study import Study
from codesign.core.quantities import Unit
from codesign.core.show import html_table, quantity_text, text_table
from codesign.cost.record import Cost
from codesign.optimize.space import Floats
from codesign.optimize.trace import DESCENTS, num_lost
from codesign.outcome.service import Service
from codesign.quality.evaluate import Quality
from codesign.serving.design import Design

STATIONARY = 1e-6  # largest violation of the conditions of optimality


@dataclass(frozen=True)
class Rung:
    """One step of a comparison: a legal design with its hard cost and quality.

    ``relaxed`` is the best objective with choices fixed and integers continuous,
    ``agreement`` the share of fully relaxed starts within 0.1 % of their best;
    both are NaN where nothing was searched. ``lost`` are values of lanes that had
    no number and were left out, the first ones of ``num_lost``.
    """

    name: str
    design: Design
    cost: Cost
    quality: Quality
    service: Service
    objective: float
    violation: float
    worst: str
    values: Floats
    relaxed: float = np.nan
    agreement: float = np.nan
    trace: tuple[dict[str, Any], ...] = ()
    lost: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def feasible(self) -> bool:
        """Whether every limit is kept."""
        return self.violation <= TOLERANCE

    @property
    def num_lost(self) -> int:
        """Lanes and trials that had no number, in all stages."""
        return num_lost(self.trace)

    @property
    def feasible_starts(self) -> float:
        """Share of the starts that keep all limits after the descent, or NaN."""
        shares = [e["feasible"] for e in self.trace if e["stage"] in DESCENTS]
        return float(shares[-1]) if shares else np.nan


TOLERANCE = 1e-5


@dataclass(frozen=True)
class Binding:
    """A limit that holds the optimum: d ln objective / d ln limit is -price."""

    name: str
    slack: float
    price: float


@dataclass(frozen=True)
class Evidence:
    """Why the optimum is one, and what moves it.

    They belong to the relaxed optimum of the design's listed choices, with the
    logarithmic objective ``relaxed``; ``kkt`` is the largest violation of its
    conditions of optimality. ``elasticities`` are d ln objective / d ln parameter
    with the limits held (envelope theorem), those of the quality law under
    ``quality.``.
    """

    binding: tuple[Binding, ...]
    kkt: float
    relaxed: float
    at_bound: tuple[str, ...]
    elasticities: dict[str, float]

    @property
    def is_stationary(self) -> bool:
        """Whether the conditions of optimality hold."""
        return self.kkt < STATIONARY


@dataclass(frozen=True)
class Loosening:
    """A limit of the study, moved from its value to one that lets a design exist.

    ``amount`` is |ln(new / old)|, or the difference for quality, whose unit is a
    logarithm already. ``case`` names the workload or pool that the limit is about,
    where there are several.
    """

    limit: str
    metric: str
    old: float
    new: float
    amount: float
    case: str = ""

    def __str__(self) -> str:
        unit = metric_units()[self.metric]
        old, new = (quantity_text(v, unit) for v in (self.old, self.new))
        of = f" of {self.case}" if self.case else ""
        return f"loosen {self.metric}{of} from {old} to {new}"


@dataclass(frozen=True)
class Relaxation:
    """The smallest change of a study's limits with which a design keeps all.

    ``single`` are limits of which each is enough by itself, the least amount
    first; ``joint`` the change of several with the least sum of amounts, empty
    where no change of the study's limits helps. ``holding`` are the limits that
    then bind, with the joint amount that one percent more of each would save,
    over a percent; ``nearest`` is the design that the joint change allows, or
    the one that breaks limits least where none does. ``num_lost`` lanes had no number
    and were left out, the first ones are ``lost``.
    """

    single: tuple[Loosening, ...]
    joint: tuple[Loosening, ...]
    holding: tuple[Binding, ...]
    nearest: Floats
    trace: tuple[dict[str, Any], ...] = ()
    lost: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def num_lost(self) -> int:
        """Lanes and trials that had no number, in all stages."""
        return num_lost(self.trace)

    @property
    def text(self) -> str:
        """What to change, as a sentence."""
        if not self.joint:
            return "No change of the study's own limits lets a design exist."
        lone = [str(each) for each in self.single]
        both = " and ".join(str(each) for each in self.joint)
        if len(self.joint) == 1:
            rest = [text for text in lone if text != both]
            more = f" Or: {'; or '.join(rest)}." if rest else ""
            return f"Smallest relaxation: {both}.{more}"
        more = (
            f" One alone: {'; or '.join(lone)}." if lone else " No single one will do."
        )
        return f"Smallest relaxation: {both}.{more}"


def excess_text(name: str, violation: float) -> str:
    """How far a limit is broken; a difference where that may be zero.

    Example:
        >>> excess_text("quality.gap <= 0", 0.02), excess_text("chip.area <= 1", 0.0953)
        ('breaks quality.gap <= 0 by 0.02', 'breaks chip.area <= 1 by a factor 1.1')
    """
    factor = "" if is_difference(name) else "a factor "
    size = violation if is_difference(name) else float(np.exp(violation))
    return f"breaks {name} by {factor}{size:.4g}"


def infeasible_text(nearest: Rung, relaxation: Relaxation) -> str:
    """That nothing keeps all limits, what the nearest breaks, and what to change."""
    broken = excess_text(nearest.worst, nearest.violation)
    return (
        f"Infeasible: no design keeps all limits; the nearest design {broken}. "
        f"{relaxation.text}"
    )


@dataclass(frozen=True)
class Waterfall:
    """What a gain is made of, all in ln objective; see ``decompose``.

    ``start`` is that of the tuned baseline, ``steps`` change it group by group in
    the listed order, ``shares`` are those of Shapley; either with ``rounding``,
    which legal whole numbers and tiles cost, adds up to the gain.
    """

    groups: tuple[str, ...]
    start: float
    steps: tuple[float, ...]
    shares: tuple[float, ...]
    rounding: float


@dataclass(frozen=True)
class Result:
    """Outcome of ``optimize``: as given, tuned and co-designed, with evidence.

    ``status`` is a sentence: what was found, or which limit cannot be kept and
    how far it would have to move. ``waterfall`` is None where a limit cannot be
    kept, so that there is no gain; ``relaxation`` is None where all are kept.
    ``bound`` is an objective that no legal design is below, proven over every
    combination of listed values and all voltages; None where that is not possible, as
    with a continuous variable. ``gap``, against the relaxed optimum, proves nothing.
    """

    study: Study
    rungs: tuple[Rung, ...]
    evidence: Evidence | None
    status: str
    seconds: float
    timings: dict[str, float] = field(default_factory=dict)
    waterfall: Waterfall | None = None
    relaxation: Relaxation | None = None
    bound: float | None = None

    def __str__(self) -> str:
        status = " ".join(filter(None, (self.status, self.bound_text)))
        return f"{self.study.name}: {status}\n{text_table(self._table())}"

    def _repr_html_(self) -> str:
        """Rungs, what binds, and the outcome: what a notebook shows."""
        head, *rows = self._table()
        title = f"<strong>{escape(self.study.name)}</strong>: {escape(self.status)}"
        return f"<div>{title}{html_table(head, rows, note=self._binding())}</div>"

    def _table(self) -> list[tuple[str, ...]]:
        """A row per rung: objective, change against tuned, latency, power, gap."""
        unit = metric_units()[self.study.minimize]
        tuned = self.rungs[min(1, len(self.rungs) - 1)].objective
        head = ("rung", self.study.minimize, "against tuned", "time_per_output_token")
        rows = [
            (
                rung.name,
                quantity_text(rung.objective, unit),
                f"{rung.objective / tuned - 1:+.1%}",
                quantity_text(rung.cost.time_per_output_token, Unit("s/token")),
                quantity_text(rung.cost.power, Unit("W")),
                quantity_text(rung.quality.gap, Unit("1")),
                "kept" if rung.feasible else f"broken: {rung.worst}",
            )
            for rung in self.rungs
        ]
        return [(*head, "power", "quality.gap", "limits"), *rows]

    def _binding(self) -> str:
        """Limits that bind, with their shadow prices."""
        prices = [f"{each.name} ({each.price:.2g})" for each in self.binding]
        return f"Binding, with shadow prices: {', '.join(prices) or 'none'}."

    @property
    def as_given(self) -> Rung:
        """The baseline as the study gives it."""
        return self.rungs[0]

    @property
    def baseline(self) -> Rung:
        """The tuned baseline, which percentages refer to."""
        return self.rungs[1]

    @property
    def best(self) -> Rung:
        """The last rung: the co-designed one."""
        return self.rungs[-1]

    @property
    def design(self) -> Design:
        """The legal design found."""
        return self.best.design

    @property
    def cost(self) -> Cost:
        """Hard cost of the legal design."""
        return self.best.cost

    @property
    def feasible(self) -> bool:
        """Whether the design found keeps every limit."""
        return self.best.feasible

    @property
    def agreement(self) -> float:
        """Share of fully relaxed starts within 0.1 % of their best."""
        return self.best.agreement

    @property
    def kkt(self) -> float:
        """Largest violation of the conditions of optimality; NaN without evidence."""
        return self.evidence.kkt if self.evidence else np.nan

    @property
    def binding(self) -> tuple[Binding, ...]:
        """Limits that hold the optimum, the highest shadow price first."""
        return self.evidence.binding if self.evidence else ()

    @property
    def at_bound(self) -> tuple[str, ...]:
        """Variables at an end of their range."""
        return self.evidence.at_bound if self.evidence else ()

    @property
    def elasticities(self) -> dict[str, float]:
        """d ln objective / d ln parameter with the limits held."""
        return self.evidence.elasticities if self.evidence else {}

    @property
    def shadow_prices(self) -> dict[str, float]:
        """Relative fall of the objective per relative widening of each limit.

        Per unit of it, such as J/token per ms: ``codesign.optimize.prices``.
        """
        return {each.name: each.price for each in self.binding}

    @property
    def num_lost(self) -> int:
        """Lanes and trials of all searches that had no number and were left out."""
        relaxed = self.relaxation.num_lost if self.relaxation else 0
        return sum(rung.num_lost for rung in self.rungs) + relaxed

    @property
    def bound_text(self) -> str:
        """The bound as a sentence, empty without one."""
        if self.bound is None:
            return ""
        least = quantity_text(self.bound, metric_units()[self.study.minimize])
        above = max(self.best.objective / self.bound - 1.0, 0.0)
        return (
            f"Proven: no legal design is below {least}; the design found is "
            f"{above:.3%} above that."
        )

    @property
    def gap(self) -> float:
        """Legal over relaxed objective, minus one."""
        return self.best.objective / self.best.relaxed - 1.0
