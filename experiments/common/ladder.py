"""What does joint design gain over either half alone, at an equal budget of search?

Study -> the best legal design of every contender, what the gain is made of, and
the same contest under draws of all constants; kept as plain data between runs.
"""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from codesign.config.quality import load_quality_constants, load_quality_draws
from codesign.config.study import Study
from codesign.core.paths import get_path, set_path
from codesign.core.record import as_float64
from codesign.hardware.anchor import anchor_chip
from codesign.hardware.chip import Published
from codesign.hardware.silicon import silicon
from codesign.optimize.climber import EVERYTHING, Climber
from codesign.optimize.evidence import gather_evidence
from codesign.optimize.ladder import LADDER
from codesign.optimize.problem import Theta, log_constraint
from codesign.optimize.result import Rung
from codesign.optimize.waterfall import decompose
from codesign.outcome.answer import metric
from codesign.quality.constants import QualityConstants
from codesign.report.limits import limit_title
from codesign.serving.design import Design
from codesign.study.job import fingerprint
from codesign.study.plain import flatten
from experiments.common.again import solve_again
from experiments.common.draws import (
    Case,
    case_of,
    half_ranges,
    on_stack,
    range_of,
    spread,
)
from experiments.common.page import log

GIVEN, TUNED, FORMATS = "as given", "tuned", "formats"
MODEL, HARDWARE, TURNS, JOINT = "model", "hardware", "in turn", "joint"
NAMES = (GIVEN, TUNED, FORMATS, MODEL, HARDWARE, TURNS, JOINT)
CONTENDERS = (MODEL, HARDWARE, TURNS, JOINT)
PREFIXES = {**dict(LADDER), JOINT: EVERYTHING}
SEARCHES = 1  # of a contender, with all starts each
ROUNDS = 2  # of the model, then the chip; all their searches share the starts
METRICS = (
    "energy_per_token_server",
    "usd_per_token",
    "time_per_output_token",
    "time_to_first_token",
    "power",
    "chip.area",
)
STRUCTURAL = ("chips", "tensor heads", "expert ranks", "active experts")
AT_LIMIT = 1e-3  # ln(use / limit) above minus this is at its limit
MINIMUM = "chip.style.min_voltage"
EXISTING = ("area", "power_density", "shoreline", "sram_bandwidth")
BUILDABLE = (
    "technology.fab.reticle_area",
    "technology.dram.speed_exponent",
    "technology.dram.height_exponent",
    "technology.dram.max_layers",
    "chip.dram.stack_bandwidth",
)
"""What says which chips can be built, as the baseline's chip was."""
ALL, PERFECT = "all constants", "perfect software"
LOWER, HIGHER = "lower V_min", "higher V_min"


class Draws(NamedTuple):
    """Draws of all constants together, and of the quality law alone.

    Without the latter the least voltage and the software stay as they are, too.
    """

    all: int
    quality: int


@dataclass(frozen=True)
class Step:
    """A contender's best legal design; ``searches`` are the ends of each search."""

    name: str
    values: dict[str, float]
    objective: float
    searches: list[float]
    metrics: dict[str, float]
    gap: float
    feasible: bool
    worst: str
    at_limits: list[str]


@dataclass(frozen=True)
class Ladder:
    """All contenders of one market and objective.

    ``again`` holds ln objective over that of the tuned baseline, by kind of draw
    and contender, at relaxed optima; the first entry of each kind is the same at
    the central constants.
    """

    question: str
    constants: str
    minimize: str
    starts: int
    steps: list[Step]
    waterfall: dict[str, Any] | None
    evidence: dict[str, Any]
    again: dict[str, dict[str, list[float]]]
    seconds: float

    def step(self, name: str) -> Step:
        """The contender of a name."""
        return next(step for step in self.steps if step.name == name)

    @property
    def best(self) -> Step:
        """The best design that any contender found."""
        return min((s for s in self.steps[1:] if s.feasible), key=lambda s: s.objective)

    def gain(self, name: str) -> float:
        """1 - objective over that of the tuned baseline.

        Whatever a part of the variables reaches, the joint space holds as well.
        """
        step = self.best if name == JOINT else self.step(name)
        return 1 - step.objective / self.step(TUNED).objective


def climb(study: Study) -> Ladder:
    """Every contender from the tuned baseline."""
    began = time.perf_counter()
    climber = Climber(study, log.info)
    given = climber.as_given()
    rungs = {GIVEN: [given], TUNED: [climber.tune(given)]}
    tuned = rungs[TUNED][0].values
    for name, prefixes in PREFIXES.items():
        mask = climber.space.select(prefixes)
        rungs[name] = [
            climber.climb(name, mask=mask, known=tuned[None])
            for _ in range(1 if name == FORMATS else SEARCHES)
        ]
    rungs[TURNS] = [_in_turn(climber, tuned)]
    steps = [_step(climber, name, found=rungs[name]) for name in NAMES]
    best = min((r for name in NAMES[1:] for r in rungs[name]), key=_rank)
    mask = climber.space.select(EVERYTHING)
    proof = gather_evidence(
        climber.engine, climber.theta, values=best.values, mask=mask
    )
    fall = decompose(climber.engine, climber.theta, tuned=tuned, best=best.values)
    evidence = {
        **dataclasses.asdict(proof),
        "elasticities": dict(strongest(study, proof.elasticities)),
    }
    return Ladder(
        question=question_of(study),
        constants=constants_of(study),
        minimize=study.minimize,
        starts=study.search.starts,
        steps=steps,
        waterfall=dataclasses.asdict(fall),
        evidence=evidence,
        again={},
        seconds=time.perf_counter() - began,
    )


def _in_turn(climber: Climber, start: np.ndarray) -> Rung:
    """The model, then the chip, each the best for the other, ``ROUNDS`` times."""
    whole = SEARCHES * climber.study.search.starts
    starts = max(whole // (2 * ROUNDS), 1)
    rungs: list[Rung] = []
    for name in (MODEL, HARDWARE) * ROUNDS:
        mask = climber.space.select(PREFIXES[name])
        known = rungs[-1].values if rungs else start
        rungs.append(climber.climb(TURNS, mask=mask, known=known[None], starts=starts))
    return rungs[-1]


def _rank(rung: Rung) -> tuple[bool, float]:
    return not rung.feasible, rung.objective


def _best(rungs: Sequence[Rung]) -> Rung:
    return min(rungs, key=_rank)


def _step(climber: Climber, name: str, *, found: Sequence[Rung]) -> Step:
    rung = _best(found)
    return Step(
        name=name,
        values=dict(zip(climber.space.paths, map(float, rung.values), strict=True)),
        objective=rung.objective,
        searches=[r.objective for r in found if r.feasible],
        metrics={path: float(get_path(rung.cost, path)) for path in METRICS},
        gap=float(rung.quality.gap),
        feasible=rung.feasible,
        worst=rung.worst,
        at_limits=[] if name == GIVEN else _at_limits(climber, rung),
    )


def _at_limits(climber: Climber, rung: Rung) -> list[str]:
    """Limits of the study and of every design that a rung has used up."""
    bounds = np.asarray(climber.theta.bounds)
    uses = {
        limit.text: float(log_constraint(limit, rung, design=rung.design, bound=bound))
        for limit, bound in zip(climber.study.limits, bounds, strict=True)
        if not (limit.baseline and rung.name == TUNED)
    }
    always = climber.problem.always
    uses |= {limit_title(name): float(metric(rung, name)) for name in always}
    return [
        name for name, use in uses.items() if use > -AT_LIMIT and name not in STRUCTURAL
    ]


def strongest(
    study: Study, found: Mapping[str, float], *, most: int = 8
) -> list[tuple[str, float]]:
    """Elasticities with the limits held, of constants that have a spread.

    Ranked by elasticity times half the logarithm of high over low.
    """
    width = half_ranges(case_of(study))
    moved = {path: abs(found.get(path, 0.0)) * width[path] for path in width}
    ranked = sorted(moved, key=lambda path: -moved[path])[:most]
    return [(path, found[path]) for path in ranked if path in found]


def climb_again(study: Study, ladder: Ladder, *, draws: Draws) -> Ladder:
    """The ladder with the contest at relaxed optima under other constants."""
    began = time.perf_counter()
    climber = Climber(study, log.info)
    central, paths = climber.yardstick.constants, climber.space.paths
    known = {
        step.name: np.array([step.values[path] for path in paths])
        for step in [ladder.best, *reversed(ladder.steps)]
    }
    case = case_of(study)
    quality = quality_draws(study, count=max(draws))
    kinds: dict[str, list[tuple[Design, QualityConstants]]] = {
        ALL: list(zip(designs_of(case, draws.all), quality, strict=False))
    }
    if draws.quality:
        as_is = as_float64(case.design)
        kinds["quality"] = [(as_is, each) for each in quality[: draws.quality]]
        kinds[LOWER] = [(with_least_voltage(case, side=0), central)]
        kinds[HIGHER] = [(with_least_voltage(case, side=1), central)]
        kinds[PERFECT] = [(as_float64(on_stack(case, "ideal").design), central)]
    first = solve_again(climber, climber.theta, known=known)
    found: dict[str, dict[str, list[float]]] = {}
    for kind, settings in kinds.items():
        each = [first]
        for design, constants in settings:
            theta: Theta = climber.theta.replace(design=design, constants=constants)
            each.append(solve_again(climber, theta, known=known))
            log.info("[%s] %s", kind, each[-1])
        found[kind] = {name: [e[name] for e in each] for name in first}
    seconds = ladder.seconds + time.perf_counter() - began
    return dataclasses.replace(ladder, again=found, seconds=seconds)


def designs_of(case: Case, count: int) -> list[Design]:
    """Draws of all constants of a case but those of quality.

    The baseline's chip exists: in every draw it has its area, keeps what can be
    built, and what cannot be drawn otherwise stays.
    """
    drawn = spread(dataclasses.replace(case, fixed=BUILDABLE), draws=count)
    area = silicon(case.design.chip, case.design.technology).area
    lanes = range(1, count + 1)
    designs = [jax.tree.map(lambda leaf, i=i: leaf[i], drawn) for i in lanes]
    return [_as_built(design, float(area)) for design in designs]


def _as_built(design: Design, area: float) -> Design:
    chip, unknown = design.chip, np.asarray(np.nan)
    published = Published(
        **dict.fromkeys(Published.__dataclass_fields__, unknown)
    ).replace(area=np.asarray(area))
    known = anchor_chip(chip, published, technology=design.technology).anchor
    limits = {name: np.asarray(getattr(known, name)) for name in EXISTING}
    return design.replace(chip=chip.replace(anchor=chip.anchor.replace(**limits)))


def with_least_voltage(case: Case, *, side: int) -> Design:
    """The design with the least voltage of its chip at an end of its spread."""
    value = np.asarray(range_of(case, MINIMUM)[side])
    return set_path(as_float64(case.design), MINIMUM, value=value)


def quality_draws(study: Study, *, count: int) -> list[QualityConstants]:
    """Draws of the quality law in the shapes of the central constants.

    The one law of a draw stands in the place of all central ones.
    """
    central = as_float64(load_quality_constants(recipe=study.recipe))
    number = max(2, 1 << (count - 1).bit_length())
    drawn = load_quality_draws(count=number, recipe=study.recipe).constants
    weight = np.asarray(central.laws.weight)
    even = np.full_like(weight, 1 / weight.size)

    def at(index: int) -> QualityConstants:
        each: QualityConstants = jax.tree.map(
            lambda leaf, middle: (
                _shaped(leaf[index], middle)
                if np.shape(leaf) != np.shape(middle)
                else middle
            ),
            drawn,
            central,
        )
        laws = each.laws.replace(weight=even)
        return each.replace(laws=laws, mmlu=central.mmlu)

    return [at(index) for index in range(count)]


def _shaped(value: Any, like: Any) -> np.ndarray:
    return np.broadcast_to(np.asarray(value, np.float64), np.shape(like))


def question_of(study: Study) -> str:
    """Digest of what a study's file asks, whatever the constants behind it."""
    asked = {k: v for k, v in study.resolved.items() if k != "name"}
    starts = study.search.starts
    return fingerprint({**asked, "minimize": study.minimize, "starts": starts})


def constants_of(study: Study) -> str:
    """Digest of the constants behind a study: baseline with its stack, technology."""
    held = {key: str(value) for key, value in flatten(study.baseline).items()}
    return fingerprint(held)


def store(found: Ladder, path: Path) -> None:
    """Write a ladder as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = dataclasses.asdict(found)
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def stored(path: Path, study: Study) -> Ladder | None:
    """The ladder of a file, if it answers the question of a study."""
    if not path.is_file():
        return None
    data = json.loads(path.read_text(encoding="utf-8"))
    found = Ladder(**{**data, "steps": [Step(**step) for step in data["steps"]]})
    return found if found.question == question_of(study) else None
