"""Who competes? Every method gets the arena, a seed, and stops when it is told to.

Rivals minimise the same vectorised hard objective over the same legal designs, from
the same tuned baseline. Their packages are the extra ``benchmarks``; a method whose
package is missing is left out by name.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np
from scipy.optimize import differential_evolution, minimize

from benchmarks.optimizer.arena import Arena
from codesign.optimize.lagrangian import Lanes
from codesign.optimize.problem import values_and_constraints
from codesign.optimize.space import Floats

Method = Callable[..., None]
BATCH = 1024  # random designs a call
POPULATION = 256  # of evolutionary methods of pymoo
TRIALS = 16  # of Optuna's sampler, asked for together
SIGMA = 0.3  # first spread of CMA-ES, box = 1
DESCENTS = 16  # starts of SLSQP
ITERATIONS = 100  # most of one descent of SLSQP
LONG = 1_000_000  # generations that no budget reaches


def codesign(arena: Arena, *, seed: int) -> None:
    """Our search, once, as ``optimize`` runs it; it stops by itself."""
    climber = arena.climber
    climber.rng = np.random.default_rng(seed)
    climber.climb("joint", mask=arena.mask, known=arena.tuned.values[None])


def slsqp(arena: Arena, *, seed: int) -> None:
    """SLSQP with our gradients from many starts, then our discrete stages."""
    engine = arena.climber.engine
    descend, refine = engine.descend, engine.refine
    theirs = SequentialQuadratic(arena).descend

    def begin(values: Floats, theta: Any, *, free: Any, **given: Any) -> Any:
        if np.array_equal(free[0], arena.mask):
            return theirs(values, theta, free=free)
        return refine(values, theta, free=free, **given)

    engine.descend, engine.refine = theirs, begin
    try:
        codesign(arena, seed=seed)
    finally:
        engine.descend, engine.refine = descend, refine


class SequentialQuadratic:
    """Descents by SciPy's SLSQP in place of our first stage."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.value, self.slope = smooth(arena)
        self.last: dict[Any, tuple[bytes, Floats]] = {}

    def descend(
        self, values: Floats, theta: Any, *, free: Any, goal: Any = None
    ) -> Lanes:
        """As many lanes as asked for, the descents handed out in turn."""
        del free, goal
        points = np.clip(self.arena.space.encode(values[:DESCENTS]), 0.0, 1.0)
        ends = np.stack([self._one(point, theta) for point in points])
        found = np.stack([np.asarray(self.value(point, theta)) for point in ends])
        lanes = np.arange(len(values)) % len(points)
        return Lanes(
            points=ends[lanes],
            objective=found[lanes, -1],
            constraints=found[lanes, :-1],
            multipliers=np.zeros_like(found[lanes, :-1]),
            trace=np.zeros((len(values), 1, 2)),
        )

    def _at(self, function: Any, point: Floats, *, theta: Any) -> Floats:
        """Value or slope, computed once where SciPy asks for its parts in turn."""
        key = point.tobytes()
        if self.last.get(function, (b"",))[0] != key:
            self.arena.ledger.check()
            found = np.nan_to_num(np.asarray(function(point, theta)))
            self.last[function] = key, found
        return self.last[function][1]

    def _one(self, point: Floats, theta: Any) -> Floats:
        value = partial(self._at, self.value, theta=theta)
        slope = partial(self._at, self.slope, theta=theta)
        kept = {
            "type": "ineq",
            "fun": lambda x: -value(x)[:-1],
            "jac": lambda x: -slope(x)[:-1],
        }
        done = minimize(
            lambda x: value(x)[-1],
            point,
            jac=lambda x: slope(x)[-1],
            method="SLSQP",
            bounds=[(0.0, 1.0)] * len(point),
            constraints=[kept],
            options={"maxiter": ITERATIONS, "ftol": 1e-8},
        )
        return np.clip(np.nan_to_num(done.x, nan=0.5), 0.0, 1.0)


_smooth: dict[str, tuple[Any, Any]] = {}


def smooth(arena: Arena) -> tuple[Any, Any]:
    """Constraints and objective of the smooth model at a point, and their slopes."""
    problem = arena.climber.problem
    sharpness = arena.climber.engine.schedule.sharpness

    def both(point: Any, theta: Any) -> Any:
        objective, constraints = values_and_constraints(
            problem, point, theta=theta, sharpness=sharpness
        )
        return jax.numpy.append(constraints, objective)

    if arena.name not in _smooth:
        functions = jax.jit(both), jax.jit(jax.jacfwd(both))
        point, theta = arena.start, arena.climber.theta
        jax.block_until_ready([function(point, theta) for function in functions])
        _smooth[arena.name] = functions
    return _smooth[arena.name]


def evolution(arena: Arena, *, seed: int) -> None:
    """SciPy's differential evolution, whole generations at once, restarted."""
    for restart in range(LONG):
        differential_evolution(
            lambda points: arena.penalised(points.T),
            [(0.0, 1.0)] * len(arena.start),
            x0=arena.start,
            rng=np.random.default_rng([seed, restart]),
            maxiter=LONG,
            tol=1e-8,
            polish=False,
            vectorized=True,
            updating="deferred",
        )


def cma_es(arena: Arena, *, seed: int) -> None:
    """CMA-ES, restarted with twice the population from a random point (IPOP)."""
    import cma

    rng, point, factor = np.random.default_rng(seed), arena.start, 1
    while True:
        options = {
            "bounds": [0.0, 1.0],
            "seed": int(rng.integers(1, 2**31)),
            "verbose": -9,
            "popsize": factor * 4 * len(point),
        }
        run = cma.CMAEvolutionStrategy(point, SIGMA, options)
        while not run.stop():
            asked = run.ask()
            run.tell(asked, list(arena.penalised(np.array(asked))))
        point, factor = rng.uniform(size=len(point)), 2 * factor


def _pymoo(arena: Arena, algorithm: Any, *, seed: int) -> None:
    from pymoo.core.problem import Problem

    class Penalised(Problem):
        def __init__(self) -> None:
            super().__init__(n_var=len(arena.start), n_obj=1, xl=0.0, xu=1.0)

        def _evaluate(self, x: Floats, out: Any, *_: Any, **__: Any) -> None:
            out["F"] = arena.penalised(x)[:, None]

    drive(algorithm, Penalised(), seed=seed)


def drive(algorithm: Any, problem: Any, *, seed: int) -> None:
    """Generation after generation until the budget stops it."""
    algorithm.setup(problem, termination=("n_gen", LONG), seed=seed, verbose=False)
    while True:
        algorithm.next()


def first_population(arena: Arena, *, seed: int) -> Floats:
    """Random points with the tuned baseline among them."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(size=(POPULATION, len(arena.start)))
    points[0] = arena.start
    return points


def genetic(arena: Arena, *, seed: int) -> None:
    """Pymoo's genetic algorithm."""
    from pymoo.algorithms.soo.nonconvex.ga import GA

    first = first_population(arena, seed=seed)
    _pymoo(arena, GA(pop_size=POPULATION, sampling=first), seed=seed)


def pymoo_de(arena: Arena, *, seed: int) -> None:
    """Pymoo's differential evolution."""
    from pymoo.algorithms.soo.nonconvex.de import DE

    first = first_population(arena, seed=seed)
    _pymoo(arena, DE(pop_size=POPULATION, sampling=first), seed=seed)


def tpe(arena: Arena, *, seed: int) -> None:
    """Optuna's tree-structured Parzen estimator; choices are categorical."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    study = optuna.create_study(sampler=sampler)
    space = arena.space
    start = arena.legal(arena.start)

    def suggested(trial: Any) -> Floats:
        point = np.empty(len(space.paths))
        for index, variable in enumerate(space.variables):
            width = space.high[index] - space.low[index]
            if variable.choices:
                value = trial.suggest_categorical(variable.path, variable.choices)
                point[index] = (np.log(value) - space.low[index]) / width
            else:
                point[index] = trial.suggest_float(variable.path, 0.0, 1.0)
        return point

    study.enqueue_trial(
        {
            v.path: start[i] if v.choices else float(arena.start[i])
            for i, v in enumerate(space.variables)
        }
    )
    while True:
        trials = [study.ask() for _ in range(TRIALS)]
        points = np.stack([suggested(trial) for trial in trials])
        for trial, value in zip(trials, arena.penalised(points), strict=True):
            study.tell(trial, float(value))


def random_search(arena: Arena, *, seed: int) -> None:
    """Uniform points of the unit box."""
    rng = np.random.default_rng(seed)
    arena.pool(arena.start[None])
    while True:
        arena.pool(rng.uniform(size=(BATCH, len(arena.start))))


METHODS: dict[str, tuple[Method, str]] = {
    "codesign": (codesign, "codesign"),
    "SLSQP + our stages": (slsqp, "scipy"),
    "SciPy DE": (evolution, "scipy"),
    "CMA-ES": (cma_es, "cma"),
    "pymoo GA": (genetic, "pymoo"),
    "pymoo DE": (pymoo_de, "pymoo"),
    "Optuna TPE": (tpe, "optuna"),
    "random": (random_search, "scipy"),
}
"""Methods by name, with the package that each of them needs."""


def missing() -> list[str]:
    """Methods whose package is not installed."""
    return [name for name, (_, package) in METHODS.items() if not find_spec(package)]
