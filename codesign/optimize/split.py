"""Do prefill and decode want chips of their own?

A study with a section ``split`` -> a chip and a pool for each phase with the hand-off
of keys and values between them, beside the best single chip for both.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from codesign.config.limits import Limit, metric_units
from codesign.config.study import Study
from codesign.core.errors import InputError
from codesign.core.paths import get_path
from codesign.core.quantities import Unit
from codesign.core.record import as_float64
from codesign.core.show import html_table, quantity_text, text_table
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.optimize.climber import EVERYTHING, Climber
from codesign.optimize.joint import (
    BOTH,
    FIRST,
    LAST,
    POOLS,
    SUM,
    TOTAL,
    Joint,
    join_spaces,
)
from codesign.optimize.problem import Theta, on_terms
from codesign.optimize.result import (
    TOLERANCE,
    Evidence,
    Relaxation,
    Rung,
    excess_text,
)
from codesign.optimize.scenarios import Solved, search_joint
from codesign.optimize.search import Found, Search
from codesign.optimize.space import Floats, place
from codesign.optimize.trace import Lost, Progress, all_lost, silent
from codesign.outcome.handoff import Handoff, handoff_bytes, with_handoff
from codesign.outcome.service import Service
from codesign.serving.design import Design

NAMES = ("prefill", "decode")
SHARED = ("model.",)  # both pools run one model
ADDED = ("energy_per_token", "usd_per_token", "carbon_per_token")
WHOLE = ("energy_per_request", "request_latency")
DECODED = ("time_per_output_token", "inter_token_latency")


@dataclass(frozen=True)
class Pool:
    """One half of the service: a replica of it, and its share of all chips."""

    name: str
    design: Design
    cost: Cost
    chips_per_request_rate: float

    @property
    def tokens(self) -> float:
        """Tokens that a request has here."""
        return float(self.design.request.output_length)


@dataclass(frozen=True)
class Split:
    """A chip for each phase against one for both.

    ``alone`` is the best design that does both on the same chips. ``objective`` is
    that of the pair per output token, hand-off included; ``same_chip`` that of the
    best pools that share one of the chips found here, an upper bound of one chip in
    two pools. ``ratio`` is prefill over decode chips when both pools are full. Where no
    pair keeps all limits, ``relaxation`` is the smallest change of the limits with
    which one does, and the pools are that pair, or the one of least violation.
    ``lost`` are lanes of all searches that had no number.
    """

    study: Study
    tuned: Rung
    alone: Rung
    pools: tuple[Pool, Pool]
    objective: float
    same_chip: float
    ratio: float
    handoff_bytes: float
    handoff_seconds: float
    handoff_joules: float
    energy_per_token_server: float
    usd_per_token: float
    violation: float
    worst: str
    evidence: Evidence
    seconds: float
    relaxation: Relaxation | None = None
    lost: Lost = field(default_factory=Lost)

    @property
    def feasible(self) -> bool:
        """Whether the pair keeps every limit."""
        return self.violation <= TOLERANCE

    @property
    def change(self) -> float:
        """Objective of the pair over that of the best single chip, minus one."""
        return self.objective / self.alone.objective - 1.0

    @property
    def status(self) -> str:
        """What was found, in a sentence."""
        found = self._found() if self.feasible else self._broken()
        return " ".join(filter(None, (found, self.lost.text)))

    def _broken(self) -> str:
        broken = excess_text(self.worst, self.violation)
        relaxed = f" {self.relaxation.text}" if self.relaxation else ""
        return (
            "Infeasible: no pair of pools keeps all limits; the nearest "
            f"{broken}.{relaxed}"
        )

    def _found(self) -> str:
        return (
            f"A chip for each phase changes {self.study.minimize} by "
            f"{self.change:+.1%} against one chip for both, with {self.ratio:.2g} "
            f"prefill chips per decode chip and {self.handoff_bytes / 1e6:.3g} MB "
            "handed over per request."
        )

    def __str__(self) -> str:
        return f"{self.study.name}: {self.status}\n{text_table(self.table())}"

    def _repr_html_(self) -> str:
        """Both pools beside the single chip: what a notebook shows."""
        head, *rows = self.table()
        return html_table(head, rows, note=self.status)

    def table(self) -> list[tuple[str, ...]]:
        """Free variables of the single chip and of both pools."""
        units = {v.path: v.unit for v in self.study.free}
        designs = (self.alone.design, *(pool.design for pool in self.pools))
        unit = metric_units()[self.study.minimize]
        both = quantity_text(self.objective, unit)
        head = ("", "one chip", *(pool.name for pool in self.pools))
        single = quantity_text(self.alone.objective, unit)
        rows = [(self.study.minimize, single, both, "together")]
        return [head, *rows, *_variables(designs, units)]


def _variables(
    designs: Sequence[Design], units: dict[str, str]
) -> list[tuple[str, ...]]:
    return [
        (path, *(quantity_text(float(get_path(d, path)), Unit(text)) for d in designs))
        for path, text in units.items()
    ]


def split(
    study: Study,
    *,
    progress: Progress = silent,
    checkpoint: Path | str | None = None,
) -> Split:
    """The best pair of chips for prefill and decode, and the best single chip.

    E = E_prefill / L + E_decode,  E_prefill with the hand-off of one prompt

    per output token, and so dollars and carbon; the first token comes from the
    prefill pool after the hand-off, the others from the decode pool. Chips are in
    the ratio at which both pools are full. Both pools run one model; chip,
    deployment and voltages are of each pool's own. Where no pair keeps all limits, the
    result says what to change. ``checkpoint`` as in ``optimize``.

    Assumes: both pools are full all the time; the study's prompts, their known
    prefixes included, are handed over whole; answers of one length for one study.

    Raises:
        InputError: the study has no section ``split``, or asks what two pools do not
            have, such as an open-loop rate; or the checkpoint is of another question
            or version.
    """
    clock = time.perf_counter()
    if study.handoff is None:
        raise InputError(f"{study.name}: has no section split; add the link to it.")
    _check(study)
    climber = Climber(study, progress, checkpoint=checkpoint)
    tuned = climber.tune(climber.as_given())
    mask = climber.space.select(EVERYTHING)
    alone = climber.climb("one chip", mask=mask, known=tuned.values[None])
    space, columns = join_spaces([climber.space] * 2, NAMES, shared=SHARED)
    ways = tuple(_way(limit) for limit in study.limits)
    ways += tuple(
        LAST if name.startswith("quality.") else BOTH for name in climber.problem.always
    )
    joint = Joint(names=NAMES, columns=columns, judge=POOLS, ways=ways)
    solved = search_joint(
        climber,
        joint,
        space=space,
        thetas=[_theta(climber, study, name=name) for name in NAMES],
        mix=np.array([-np.log(float(study.baseline.request.output_length)), 0.0]),
        known=[[rung.values] * 2 for rung in (alone, tuned)],
    )
    searches = _same_chip(climber, solved, alone=alone)
    return _report(climber, solved, rungs=(tuned, alone), same=searches, clock=clock)


def _check(study: Study) -> None:
    """Refuse what two pools do not have."""
    faults = {
        "a batch in place of a rate": float(study.baseline.request.rate) > 0,
        "answers as long as asked": study.terms.answers,
        "a fixed vocabulary": study.terms.text,
        f"to minimise one of {', '.join(ADDED)}": not study.minimize.startswith(ADDED),
        "limits on metrics of Cost and quality alone": any(
            limit.metric in Service.__dataclass_fields__ for limit in study.limits
        ),
    }
    wanted = [text for text, broken in faults.items() if broken]
    if wanted:
        raise InputError(f"{study.name}: split needs {'; '.join(wanted)}.")


def _way(limit: Limit) -> int:
    """About which pools a limit is."""
    name = limit.metric
    if name == "time_to_first_token":
        return FIRST
    if name in DECODED or name.startswith("quality."):
        return LAST
    if limit.sense == "<=" and name in WHOLE:
        return TOTAL
    added = limit.sense == "<=" and name.startswith(ADDED)
    return SUM if added else BOTH


def _theta(climber: Climber, study: Study, *, name: str) -> Theta:
    """Parameters of one pool: outputs of one token, or prompts that are known."""
    design, link = climber.theta.design, study.handoff
    if link is None:
        raise InputError(f"{study.name}: has no section split.")
    request, first = design.request, name == NAMES[0]
    request = (
        request.replace(output_length=1.0, output_variation=0.0)
        if first
        else request.replace(prefix_hit_fraction=1.0 - 1.0 / request.prompt_length)
    )
    handoff = Handoff(
        time_per_byte=1.0 / link.bandwidth,
        latency=link.latency,
        energy_per_byte=link.energy,
        share=1.0 if first else 0.0,
    )
    return climber.theta.replace(
        design=as_float64(design.replace(request=request)), handoff=as_float64(handoff)
    )


def _same_chip(climber: Climber, solved: Solved, *, alone: Rung) -> list[Found]:
    """Searches for two pools of one chip, for each of the chips that were found."""
    space, joint = solved.engine.space, solved.joint
    chip = np.array([path.startswith("chip.") for path in climber.space.paths])
    each = solved.each(solved.best)
    held = np.zeros(len(space.paths), bool)
    for columns in joint.columns:
        held[np.array(columns)[chip]] = True
    mask = solved.mask & ~held
    found: list[Found] = []
    for index, source in enumerate((*each, alone.values)):
        point = solved.best.copy()
        for columns in joint.columns:
            point[np.array(columns)[chip]] = source[chip]
        search = Search(
            solved.engine,
            solved.theta,
            mask,
            climber.rng,
            checkpoint=climber.checkpoint,
            name=f"same chip {index}",
        )
        starts = climber.study.search.starts
        found.append(search.run(point[None], starts=starts, progress=climber.progress))
    return found


def _least(found: Found) -> float:
    """Objective of the best design of a search, infinite where it breaks a limit."""
    best = found.pool.best(1)
    kept = best.violation[0] <= TOLERANCE
    return float(np.exp(best.objective[0])) if kept else np.inf


def _report(
    climber: Climber,
    solved: Solved,
    *,
    rungs: tuple[Rung, Rung],
    same: Sequence[Found],
    clock: float,
) -> Split:
    tuned, alone = rungs
    relaxation = None if solved.feasible else solved.relax(climber)
    values = solved.best if relaxation is None else relaxation.nearest
    each = solved.each(values)
    pools = [
        _pool(climber, climber.study, name=name, values=own)
        for name, own in zip(NAMES, each, strict=True)
    ]
    first, second = pools
    length = float(climber.study.baseline.request.output_length)
    objective, constraints = solved.engine.constraints(values[None], solved.theta)
    worst = int(np.argmax(constraints[0]))
    link = climber.study.handoff
    size = float(handoff_bytes(first.design))
    deployment = first.design.deployment
    senders = float(deployment.tensor_parallel * deployment.pipeline_parallel)
    return Split(
        study=climber.study,
        tuned=tuned,
        alone=alone,
        pools=(first, second),
        objective=float(np.exp(objective[0])),
        same_chip=min(map(_least, same)),
        ratio=first.chips_per_request_rate / second.chips_per_request_rate,
        handoff_bytes=size,
        handoff_seconds=link.latency + size / (link.bandwidth * senders) if link else 0,
        handoff_joules=link.energy * size if link else 0,
        energy_per_token_server=float(first.cost.energy_per_token_server) / length
        + float(second.cost.energy_per_token_server),
        usd_per_token=float(first.cost.usd_per_token) / length
        + float(second.cost.usd_per_token),
        violation=float(constraints[0, worst]),
        worst=solved.engine.problem.constraint_names[worst],
        evidence=solved.evidence(values),
        seconds=time.perf_counter() - clock,
        relaxation=relaxation,
        lost=all_lost(rungs, paths=climber.space.paths)
        + all_lost(same, paths=solved.engine.space.paths)
        + solved.lost(relaxation),
    )


def _pool(climber: Climber, study: Study, *, name: str, values: Floats) -> Pool:
    """A pool at given values; its chips per request a second."""
    theta = _theta(climber, study, name=name)
    placed = place(theta.design, climber.space.paths, values=values)
    design = as_float64(on_terms(climber.problem, placed, theta=theta))
    cost = evaluate(design)
    held = design.replace(
        deployment=design.deployment.replace(
            decode_voltage=cost.decode_voltage, prefill_voltage=cost.prefill_voltage
        )
    )
    if theta.handoff is not None:
        cost = with_handoff(cost, held, handoff=theta.handoff)
    rate = float(cost.throughput) / float(held.request.output_length)
    chips = float(held.system.num_chips)
    return Pool(name, design=held, cost=cost, chips_per_request_rate=chips / rate)
