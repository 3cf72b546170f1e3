"""``codesign scenarios``: one chip for many, a chip for each phase, a robust one."""

import shlex
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from codesign.app.errors import INFEASIBLE
from codesign.app.flags import Json
from codesign.app.optimize import (
    Out,
    Overrides,
    Quiet,
    Resume,
    Seed,
    Starts,
    StudyFile,
    complain_infeasible,
    progress_lines,
    resumable,
    study_changes,
)
from codesign.app.output import own_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from codesign.config.question import Study
    from codesign.optimize.result import Evidence
    from codesign.optimize.scenarios import Scenarios
    from codesign.optimize.split import Split
    from codesign.serving.design import Design
    from codesign.study.robust import Robust

DATA = "scenarios.json"


def scenarios(
    study: StudyFile,
    *,
    overrides: Overrides = None,
    seed: Seed = None,
    starts: Starts = None,
    out: Out = None,
    resume: Resume = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for many workloads at once, for two pools, or for uncertain constants.

    Does what the sections of the study say: ``scenarios`` (specialists against one
    chip for all), ``split`` (a chip each for prefill and decode) and ``robust``
    (limits that hold in a share of the draws). Writes the designs and the data.
    Exit code 3 if the limits cannot be kept, with the smallest relaxation of the
    limits with which they can.

    Example: codesign scenarios scenarios
    """
    tell = progress_lines(quiet=quiet, to_stderr=as_json)
    tell(f"codesign {own_version()}  scenarios {study}")
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import json_text, print_json, versions, write_output
    from codesign.config.design import save_design
    from codesign.config.study import load_study
    from codesign.core.errors import InputError
    from codesign.study.plain import finite_or_none
    from codesign.study.runs import STAGES, claim_folder

    changes = study_changes(overrides, seed=seed, starts=starts)
    asked = load_study(study, overrides=changes)
    parts = _parts(asked)
    if not parts:
        raise InputError(
            f"{asked.path.name}: has none of the sections scenarios, split and robust."
        )
    text = asked.path.read_text(encoding="utf-8")
    folder = claim_folder(asked, text=text, out=out, resume=resume, result=DATA)
    argv = ["scenarios", study]
    argv += [part for each in changes for part in ("--set", each)]
    data: dict[str, Any] = {"study": asked.name, "command": shlex.join(argv)}
    stages, broken = folder / STAGES, []
    for name, search in parts.items():
        with resumable(argv, folder, stages=stages):
            found = search(asked, progress=tell, checkpoint=stages / name)
        (folder / "designs").mkdir(parents=True, exist_ok=True)
        facts, designs = _facts(found)
        data[name] = finite_or_none({"status": found.status, **facts})
        for title, design in designs.items():
            save_design(design, folder / "designs" / f"{name}-{title}.yaml")
        if not as_json:
            typer.echo(str(found))
        broken += [] if found.feasible else [found]
    data["versions"] = versions()
    write_output(folder / DATA, json_text(data))
    shutil.rmtree(stages, ignore_errors=True)
    if as_json:
        print_json({**data, "run": str(folder)})
    else:
        typer.echo(f"\ndesigns {folder / 'designs'}\ndata    {folder / DATA}")
    if broken:
        for found in broken:
            complain_infeasible(found.status, found.relaxation)
        raise typer.Exit(INFEASIBLE)


def _parts(study: "Study") -> "dict[str, Callable[..., Scenarios | Split | Robust]]":
    """What the sections of a study ask for."""
    from codesign.optimize.scenarios import scenarios as many
    from codesign.optimize.split import split
    from codesign.study.robust import robust

    given = {
        "scenarios": (study.cases, many),
        "split": (study.handoff, split),
        "robust": (study.chances, robust),
    }
    return {name: search for name, (section, search) in given.items() if section}


def _facts(
    found: "Scenarios | Split | Robust",
) -> "tuple[dict[str, Any], dict[str, Design]]":
    """What is written of a result, in SI, and its designs by name."""
    from codesign.optimize.scenarios import Scenarios
    from codesign.optimize.split import Split

    if isinstance(found, Scenarios):
        facts, designs = _many(found)
    else:
        facts, designs = _pools(found) if isinstance(found, Split) else _draws(found)
    return {**facts, **_limits_and_lost(found)}, designs


def _limits_and_lost(found: "Scenarios | Split | Robust") -> dict[str, Any]:
    """Whether limits are kept, what to change where not, and lanes without a number.

    The nearest designs are files.
    """
    relaxation = found.relaxation
    change = None
    if relaxation is not None:
        change = {
            "text": relaxation.text,
            "joint": [asdict(each) for each in relaxation.joint],
            "single": [asdict(each) for each in relaxation.single],
            "holding": [asdict(each) for each in relaxation.holding],
        }
    lost = asdict(found.lost)
    return {"feasible": found.feasible, "relaxation": change, "lost": lost}


def _many(found: "Scenarios") -> "tuple[dict[str, Any], dict[str, Design]]":
    names = found.names
    designs = {
        f"for-{name}": rung.design
        for name, rung in zip(names, found.specialists, strict=True)
    }
    designs |= {
        f"for-all-{name}": rung.design
        for name, rung in zip(names, found.generalist, strict=True)
    }
    facts = {
        "cases": list(names),
        "specialists": [rung.objective for rung in found.specialists],
        "for_all": [rung.objective for rung in found.generalist],
        "cross": found.cross.tolist(),
        "cross_regret": found.cross_regret.tolist(),
        "regret": found.regret.tolist(),
        "agreement": found.agreement,
        **_prices(found.evidence),
    }
    return facts, designs


def _pools(found: "Split") -> "tuple[dict[str, Any], dict[str, Design]]":
    designs = {pool.name: pool.design for pool in found.pools}
    designs["one-chip"] = found.alone.design
    facts = {
        "objective": found.objective,
        "one_chip": found.alone.objective,
        "same_chip_in_both_pools": found.same_chip,
        "prefill_chips_per_decode_chip": found.ratio,
        "handoff_bytes": found.handoff_bytes,
        "handoff_seconds": found.handoff_seconds,
        "handoff_joules": found.handoff_joules,
        "energy_per_token_server": found.energy_per_token_server,
        "usd_per_token": found.usd_per_token,
        **_prices(found.evidence),
    }
    return facts, designs


def _draws(found: "Robust") -> "tuple[dict[str, Any], dict[str, Design]]":
    judged = {"tuned": found.tuned, "nominal": found.nominal, "robust": found.robust}
    facts = {
        name: {
            "mean_objective": float(each.objective.mean()),
            "together": each.together,
            "kept": each.kept,
        }
        for name, each in judged.items()
    }
    drawn = {"constants": list(found.constants), "price": found.price}
    designs = {name: each.rung.design for name, each in judged.items()}
    return {**drawn, **facts, **_prices(found.evidence)}, designs


def _prices(evidence: "Evidence") -> dict[str, Any]:
    return {
        "kkt": evidence.kkt,
        "shadow_prices": {each.name: each.price for each in evidence.binding},
        "at_bound": list(evidence.at_bound),
        "elasticities": evidence.elasticities,
    }
