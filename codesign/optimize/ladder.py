"""How much of a gain is tuning, and how much is co-design?

Study -> rungs from the baseline as given to the joint design, every one a
legal design, none worse than those that it starts from.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import optax

from codesign.config.study import Study
from codesign.optimize.climber import EVERYTHING, Climber
from codesign.optimize.discrete import Mask
from codesign.optimize.evidence import gather_evidence
from codesign.optimize.lagrangian import Schedule
from codesign.optimize.proof import Proof, prove
from codesign.optimize.relax import Relaxer
from codesign.optimize.result import (
    Relaxation,
    Result,
    Rung,
    Waterfall,
    excess_text,
    infeasible_text,
)
from codesign.optimize.space import Floats
from codesign.optimize.trace import Progress, silent
from codesign.optimize.waterfall import decompose

FORMATS = ("model.weight_bits", "model.activation_bits", "model.kv_bits")
LADDER: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("formats", ("deployment.", *FORMATS)),
    ("model", ("deployment.", "model.")),
    ("hardware", ("deployment.", "chip.", "system.")),
)

HELD = 1e-12  # relative difference up to which a variable has not moved


def optimize(
    study: Study,
    *,
    progress: Progress = silent,
    schedule: Schedule | None = None,
    transform: optax.GradientTransformation | None = None,
    checkpoint: Path | str | None = None,
) -> Result:
    """Baseline as given, baseline tuned, joint design; with evidence.

    ``schedule`` and ``transform`` are those of the descent of all starts but the
    first 32: its rounds and rates, and any optax transformation in place of Adam with
    a cosine schedule. With the folder ``checkpoint`` the state is kept after every
    stage, and a call that was stopped goes on from there to the same answer, bit for
    bit. Where no design keeps all limits the result holds the smallest relaxation.

    Raises:
        Float64DisabledError: 64-bit floats are off.
        InputError: the baseline model's training tokens are unknown, or the
            checkpoint is of another study or version.

    Example:
        ``optimize(study, transform=optax.adamw(0.02), checkpoint="runs/a/stages")``
    """
    clock = time.perf_counter()
    climber = Climber(
        study,
        progress,
        schedule=schedule,
        transform=transform,
        checkpoint=checkpoint,
    )
    given = climber.as_given()
    tuned = climber.tune(given)
    mask = climber.space.select(EVERYTHING)
    known = np.stack([tuned.values, given.values])
    joint = climber.climb("co-designed", mask=mask, known=known)
    return _result(climber, (given, tuned, joint), mask=mask, clock=clock)


def ladder(
    study: Study,
    *,
    rounds: int = 2,
    progress: Progress = silent,
    checkpoint: Path | str | None = None,
) -> Result:
    """Every rung: formats, model, hardware, alternating and joint.

    Each rung is one search with the same number of starts; alternating spends
    ``rounds`` searches on the model and on the hardware in turn, from the tuned
    baseline. A search knows all earlier designs that hold what it holds: that of
    the model knows the formats, the joint one knows all, and the hardware, which
    keeps the model, only the tuned baseline. So no rung is worse than one whose
    variables are among its own. ``checkpoint`` as in ``optimize``.
    """
    clock = time.perf_counter()
    climber = Climber(study, progress, checkpoint=checkpoint)
    given = climber.as_given()
    rungs = [given, climber.tune(given)]
    for name, prefixes in LADDER:
        mask = climber.space.select(prefixes)
        rungs.append(climber.climb(name, mask=mask, known=_known(rungs[1:], mask)))
    rungs.append(_alternate(climber, rungs[1], rounds=rounds))
    mask = climber.space.select(EVERYTHING)
    rungs.append(climber.climb("joint", mask=mask, known=_known(rungs[1:], mask)))
    return _result(climber, tuple(rungs), mask=mask, clock=clock)


def _known(rungs: Sequence[Rung], mask: Mask) -> Floats:
    """The first design, and those that differ from it in masked variables alone."""
    values = np.stack([rung.values for rung in rungs])
    same = np.isclose(values, values[0], rtol=HELD, atol=0.0)
    return values[(same | mask).all(axis=1)]


def _alternate(climber: Climber, start: Rung, *, rounds: int) -> Rung:
    rung = start
    for _ in range(rounds):
        for _, prefixes in LADDER[1:]:
            mask = climber.space.select(prefixes)
            rung = climber.climb("alternating", mask=mask, known=rung.values[None])
    return rung


def _result(
    climber: Climber, rungs: Sequence[Rung], *, mask: Mask, clock: float
) -> Result:
    best, relaxation = rungs[-1], None
    proof = _proof(climber, best, mask=mask)
    if proof is not None and proof.better is not None:
        best = climber.nearest(best, proof.better)
    if not best.feasible:
        relaxation = _relaxation(climber, rungs, mask=mask)
        best = climber.nearest(best, relaxation.nearest)
    evidence = gather_evidence(
        climber.engine, climber.theta, values=best.values, mask=mask
    )
    if best.feasible and evidence.is_stationary:
        solved = float(np.fmin(best.relaxed, np.exp(evidence.relaxed)))
        best = replace(best, relaxed=solved)
    return Result(
        study=climber.study,
        rungs=(*rungs[:-1], best),
        evidence=evidence,
        status=_status(best, rungs[1], relaxation=relaxation, proof=proof),
        seconds=time.perf_counter() - clock,
        waterfall=_waterfall(climber, tuned=rungs[1], best=best),
        relaxation=relaxation,
        bound=float(np.exp(proof.bound)) if proof and best.feasible else None,
    )


def _proof(climber: Climber, best: Rung, *, mask: Mask) -> Proof | None:
    """A bound on all legal designs, where every combination can be looked at."""
    known = float(np.log(best.objective)) if best.feasible else np.inf
    proof = prove(climber.engine, climber.theta, mask=mask, known=known)
    if proof is not None:
        climber.progress(f"[proof] over {proof.combinations} combinations")
    return proof


def _relaxation(climber: Climber, rungs: Sequence[Rung], *, mask: Mask) -> Relaxation:
    """The smallest change of the limits that lets a design exist."""
    climber.progress("[smallest relaxation]")
    relaxer = Relaxer(climber.engine, climber.theta, mask=mask, rng=climber.rng)
    known = np.stack([rung.values for rung in reversed(rungs)])
    return relaxer.run(known, progress=climber.progress)


def _waterfall(climber: Climber, *, tuned: Rung, best: Rung) -> Waterfall | None:
    if not (tuned.feasible and best.feasible):
        return None
    climber.progress("[what the gain is made of]")
    return decompose(
        climber.engine, climber.theta, tuned=tuned.values, best=best.values
    )


def _status(
    best: Rung,
    tuned: Rung,
    *,
    relaxation: Relaxation | None,
    proof: Proof | None,
) -> str:
    lost = sum(each.num_lost for each in (tuned, best, relaxation) if each)
    note = f" {lost} lanes had no number and were left out." if lost else ""
    if relaxation is not None:
        sure = ""
        if proof is not None and proof.bound == np.inf:
            sure = f" Proven: none of all {proof.combinations} combinations does."
        return f"{infeasible_text(best, relaxation)}{sure}{note}"
    if not tuned.feasible:
        broken = f"the tuned baseline {excess_text(tuned.worst, tuned.violation)}"
        return f"All limits are kept; {broken}, so no gain is stated.{note}"
    change = best.objective / tuned.objective - 1.0
    return f"All limits are kept; the objective is {change:+.1%} against tuned.{note}"
