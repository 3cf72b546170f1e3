"""Where does an exploration start? At a study, a design's file, or a run.

Path or preset -> ``Session``.
"""

from collections.abc import Sequence
from pathlib import Path

import jax

from codesign.config.design import load_design
from codesign.config.overrides import apply_overrides
from codesign.config.question import OBJECTIVE
from codesign.config.study import Study, load_study
from codesign.config.yaml import read_yaml
from codesign.core.errors import InputError
from codesign.core.record import as_float64
from codesign.explore.library import BEST
from codesign.explore.limits import read_limits
from codesign.explore.session import Session
from codesign.explore.state import NAMES, Origin
from codesign.serving.design import Design

EXAMPLE = "joint_chat"
DESIGN_LIMITS = ("chip.area <= baseline", "usd_per_token <= baseline")
"""Limits of a design without a study: no more silicon, no dearer."""


def open_session(
    file: str | Path | None, *, overrides: Sequence[str] = (), runs: Path
) -> Session:
    """A session on a study, a design's file or a run's folder; else on an example.

    Raises:
        InputError: with every problem of the file.
    """
    given = Path(file) if file else None
    if given is not None and given.is_dir():
        given = given / BEST
    if given is not None and given.suffix in {".yaml", ".yml"} and _is_design(given):
        design = apply_overrides(load_design(given), overrides)
        return _on_design(design, name=given.stem, runs=runs)
    study = load_study(file or EXAMPLE, overrides=overrides)
    text = study.resolved.get("baseline", {})
    names = {name: str(text.get(name, "")) for name in NAMES}
    origin = Origin(jax.device_get(as_float64(study.baseline)), **names)
    return Session(study, origin=origin, runs=runs)


def _is_design(path: Path) -> bool:
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    return "technology" in read_yaml(path).data


def _on_design(design: Design, *, name: str, runs: Path) -> Session:
    study = Study(
        name=name,
        path=Path(f"{name}.yaml"),
        baseline=as_float64(design),
        baseline_text={},
        tune=("deployment.",),
        free=(),
        minimize=OBJECTIVE,
        limits=read_limits(DESIGN_LIMITS),
    )
    return Session(study, origin=Origin(jax.device_get(study.baseline)), runs=runs)
