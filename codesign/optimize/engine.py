"""What does a search run? The compiled functions of a problem, on any batch.

Problem and space -> descents, interior point solutions, hard values, gradients.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from numpy.typing import NDArray

from codesign.core.compiler import cpu_options
from codesign.optimize.discrete import Mask, Pool
from codesign.optimize.interior import Optima, interior_solver
from codesign.optimize.lagrangian import Lanes, Schedule, Start, descender
from codesign.optimize.problem import Problem, Theta, hard_evaluator, puller
from codesign.optimize.programs import Program, prepare
from codesign.optimize.space import Floats, Space

GROUP = 32  # lanes that descend together
CHUNK = 256  # designs that are evaluated together
REFINING = 40  # iterations of the interior point method where nothing follows


class Goal(NamedTuple):
    """Right sides of the limits, and weights of objective and limits, by lane.

    ``loose`` and ``stretch`` make limits elastic; see ``Start``.
    """

    bounds: Floats
    weights: Floats
    loose: Floats
    stretch: Floats


class Engine:
    """The compiled functions of a problem, shared by all its searches."""

    def __init__(
        self,
        problem: Problem,
        space: Space,
        *,
        schedule: Schedule,
        transform: optax.GradientTransformation | None = None,
    ) -> None:
        self.problem = problem
        self.space = space
        self.schedule = schedule
        self._own = transform is not None
        self._descend = descender(problem, schedule, transform=transform)
        self._hard = hard_evaluator(problem)
        self._refine = interior_solver(problem)
        self._pull = puller(problem, sharpness=schedule.sharpness)
        self._jobs: dict[str, Future[Program]] = {}

    def compile(self, values: Floats, theta: Theta) -> None:
        """Compile all functions for a design's shapes, each in a thread.

        Tracing holds the interpreter's lock and goes one after the other; XLA
        does not. Each is waited for when it is first called, or by ``wait``;
        gradients in the constants are traced last. Programs that lie on disk are
        neither traced nor compiled.
        """
        lanes = np.tile(values, (GROUP, 1))
        nothing = np.zeros(lanes.shape, bool)
        start = self._start(lanes, theta, free=nothing, margin=0.0, goal=None)
        chunk = np.tile(self.space.encode(values), (CHUNK, 1))
        about, plain = (self.problem.shape, self.schedule), cpu_options()
        pool = ThreadPoolExecutor()
        self._jobs = {
            name: pool.submit(
                prepare(
                    function,
                    given=given,
                    about=(name, about),
                    options=plain,
                    kept=kept,
                )
            )
            for name, function, given, kept in (
                ("refine", self._refine, ((start, theta), _most(REFINING)), True),
                ("hard", self._hard, ((chunk, theta), {}), True),
                ("descend", self._descend, ((start, theta), {}), not self._own),
            )
        }
        point, pull = chunk[0], self._pull
        weights = np.zeros(len(self.problem.constraint_names) + 1)

        def pulled() -> Program:
            return prepare(
                pull,
                given=((point, theta), {"weights": weights}),
                about=("pull", about),
                options=cpu_options(level=0),
            )()

        self._jobs["pull"] = pool.submit(pulled)
        pool.shutdown(wait=False)
        self._refine, self._hard, self._descend, self._pull = (
            partial(self._run, name) for name in self._jobs
        )

    def wait(self, *names: str) -> None:
        """Wait until the named programs are compiled: all, if none is named."""
        for name in names or self._jobs:
            self._program(name)

    def _program(self, name: str) -> Program:
        """The compiled program; what broke its compilation is told with its name."""
        try:
            return self._jobs[name].result()
        except Exception as error:
            error.add_note(f"while the program {name!r} of the search was compiled")
            raise

    def _run(self, name: str, /, *args: Any, **named: Any) -> Any:
        return self._program(name)(*args, **named)

    def pull_back(
        self, values: Floats, theta: Theta, *, weights: Floats
    ) -> dict[str, Any]:
        """Gradient of a weighted sum of objective and constraints in the constants."""
        point = self.space.encode(values)
        return jax.device_get(self._pull(point, theta, weights=weights))

    def descend(
        self, values: Floats, theta: Theta, *, free: Mask, goal: Goal | None = None
    ) -> Lanes:
        """Augmented-Lagrangian descent of a batch of lanes."""
        start = self._start(values, theta, free=free, margin=0.0, goal=goal)
        return self._lanes(lambda part: self._descend(part, theta), start)

    def refine(
        self,
        values: Floats,
        theta: Theta,
        *,
        free: Mask,
        margin: float = 0.0,
        iterations: int = REFINING,
        goal: Goal | None = None,
    ) -> Optima:
        """Interior point method from a batch of lanes."""
        start = self._start(values, theta, free=free, margin=margin, goal=goal)
        return self._lanes(
            lambda part: self._refine(part, theta, **_most(iterations)), start
        )

    def _start(
        self,
        values: Floats,
        theta: Theta,
        *,
        free: Mask,
        margin: float,
        goal: Goal | None,
    ) -> Start:
        count, pinned = len(values), self.space.pinned
        points = self.space.encode(values)
        points = np.where(free, np.clip(points, 0.0, 1.0), points)
        goal = goal or self.goal(theta, count)
        return Start(
            points=np.where(free & pinned, 0.5, points),
            free=free & ~pinned,
            margin=np.full(count, margin),
            **goal._asdict(),
        )

    def goal(self, theta: Theta, count: int, *, weights: Floats | None = None) -> Goal:
        """The parameters' limits, and the objective unless weights are given."""
        number = len(self.problem.constraint_names)
        each = np.eye(1, number + 1)[0] if weights is None else weights
        rigid = np.zeros((count, number))
        return Goal(
            bounds=np.tile(np.asarray(theta.bounds), (count, 1)),
            weights=np.tile(each, (count, 1)),
            loose=rigid,
            stretch=rigid,
        )

    def _lanes(self, function: Callable[[Start], Any], start: Start) -> Any:
        """Results of all lanes, solved in groups."""
        return self.batched(function, start, size=GROUP)

    def evaluate(
        self, values: Floats, theta: Theta, *, weights: Floats | None = None
    ) -> Pool:
        """Hard objective, or weighted sum, and worst violation of legal designs."""
        objective, constraints = self.constraints(values, theta)
        if weights is not None:
            objective = weights[0] * objective + constraints @ weights[1:]
        violation = np.max(constraints, axis=1)
        violation = np.where(np.isfinite(violation), violation, np.inf)
        excess = np.sum(np.maximum(constraints, 0.0), axis=1)
        return Pool(values, objective, violation, excess)

    def constraints(self, values: Floats, theta: Theta) -> tuple[Floats, Floats]:
        """Hard objective and every constraint of legal designs."""
        points = self.space.encode(values)
        return self.batched(lambda p: self._hard(p, theta), points, size=CHUNK)

    def batched(
        self, function: Callable[[Any], Any], batch: Any, *, size: int = CHUNK
    ) -> Any:
        """A compiled function of groups of a size on a batch of any length."""
        found = self._parallel(function, self._groups(batch, size=size))
        count = len(jax.tree.leaves(batch)[0])
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *found)

    def _groups(self, batch: Any, *, size: int) -> list[Any]:
        """A batch cut into groups of equal size, the last one filled up."""
        count = len(jax.tree.leaves(batch)[0])
        index = np.minimum(np.arange(-(-count // size) * size), count - 1)
        parts = index.reshape(-1, size)
        return [jax.tree.map(lambda a, p=p: np.asarray(a)[p], batch) for p in parts]

    def _parallel(self, function: Callable[[Any], Any], groups: list[Any]) -> list[Any]:
        """The compiled function on every group, one thread per core."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda g: jax.device_get(function(g)), groups))


def _most(iterations: int) -> dict[str, NDArray[np.int64]]:
    """The most iterations, always of one type, as programs need it."""
    return {"iterations": np.asarray(iterations, np.int64)}
