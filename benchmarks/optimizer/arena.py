"""What do methods compete on? A frozen problem, and a ledger of what each one finds."""

import hashlib
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from codesign.config.study import load_study
from codesign.optimize.climber import EVERYTHING, Climber
from codesign.optimize.discrete import FEASIBLE, Pool
from codesign.optimize.space import Floats

PROBLEMS = Path(__file__).resolve().parent / "problems"
PENALTY = 10.0  # on the sum of ln(use / limit); shadow prices are near 1
WORST = 1e6  # penalised objective of a design that cannot be evaluated
PROBES = 32  # designs whose cost says which model this is


class OutOfTimeError(Exception):
    """The budget of a method is used up."""


@dataclass
class Ledger:
    """Best legal design over time of one run; processor seconds are the budget."""

    budget: float
    wall: float = field(default_factory=time.perf_counter)
    began: float = field(default_factory=time.process_time)
    evaluations: int = 0
    history: list[tuple[float, float, int, float]] = field(default_factory=list)
    values: Floats | None = None
    lock: Lock = field(default_factory=Lock)

    @property
    def spent(self) -> float:
        """Processor seconds since the start, of all threads."""
        return time.process_time() - self.began

    def note(self, pool: Pool) -> None:
        """Count designs and keep the best legal one; looks run side by side."""
        first = pool.best(1)
        objective = float(np.exp(first.objective[0]))
        legal = first.violation[0] <= FEASIBLE
        with self.lock:
            self.evaluations += len(pool.values)
            if legal and (not self.history or objective < self.history[-1][3]):
                passed = time.perf_counter() - self.wall
                self.history.append((self.spent, passed, self.evaluations, objective))
                self.values = first.values[0]

    def check(self) -> None:
        """Stop a method whose budget is used up."""
        if self.spent > self.budget:
            raise OutOfTimeError


class Arena:
    """A problem with its compiled functions and its tuned baseline."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.climber = Climber(load_study(PROBLEMS / f"{name}.yaml"), lambda _: None)
        self.tuned = self.climber.tune(self.climber.as_given())
        self.space = self.climber.space
        self.mask = self.space.select(EVERYTHING)
        self.ledger = Ledger(math.inf)

    @property
    def start(self) -> Floats:
        """The tuned baseline in the unit box, which every method is given."""
        return np.clip(self.space.encode(self.tuned.values), 0.0, 1.0)

    def legal(self, points: Floats) -> Floats:
        """Legal designs nearest to points of the unit box."""
        inside = np.clip(points, 0.0, 1.0)
        return self.space.round(self.space.decode(inside), mask=self.mask)

    def pool(self, points: Floats) -> Pool:
        """Designs at points of the unit box, rounded, evaluated and noted."""
        self.ledger.check()
        return self.climber.engine.evaluate(self.legal(points), self.climber.theta)

    def penalised(self, points: Floats) -> Floats:
        """Logarithmic objective and the sum of violations, as rivals minimise it."""
        pool = self.pool(points)
        value = pool.objective + PENALTY * pool.excess
        return np.where(np.isfinite(value), value, WORST)

    @contextmanager
    def run(self, budget: float = math.inf) -> Iterator[Ledger]:
        """A fresh ledger that sees every evaluation, also those inside our search."""
        engine = self.climber.engine
        plain, ledger = engine.evaluate, Ledger(budget)
        self.ledger = ledger

        def watched(values: Floats, theta: Any, **given: Any) -> Pool:
            found = plain(values, theta, **given)
            ledger.note(found)
            return found

        engine.evaluate = watched
        try:
            yield ledger
        finally:
            engine.evaluate = plain

    def landscape(self) -> str:
        """Digest of the problem: its text, and what the model says of some designs."""
        text = (PROBLEMS / f"{self.name}.yaml").read_bytes()
        rng = np.random.default_rng(0)
        points = rng.uniform(size=(PROBES, len(self.space.paths)))
        found = self.climber.engine.constraints(self.legal(points), self.climber.theta)
        said = np.column_stack([found[0], found[1]])
        rounded = [[f"{value:.5g}" for value in row] for row in said]
        return hashlib.sha256(text + json.dumps(rounded).encode()).hexdigest()[:12]

    def price(self, values: dict[str, float]) -> float:
        """Objective of a known design under the present model; infinite if illegal."""
        if set(values) != set(self.space.paths):
            return math.inf
        row = np.array([[values[path] for path in self.space.paths]])
        pool = self.climber.engine.evaluate(row, self.climber.theta)
        legal = pool.violation[0] <= FEASIBLE
        return float(np.exp(pool.objective[0])) if legal else math.inf
