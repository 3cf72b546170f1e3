"""How sure is a result, when the constants behind it are not?

Study or design -> draws of technology, stack, chip style and quality constants
within their published spread, every metric at each draw, and what drives it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from codesign.config.chips import chip_info
from codesign.config.design import locate
from codesign.config.quality import load_quality_constants, quality_values
from codesign.config.records import ValueInfo
from codesign.config.stacks import stack_info
from codesign.config.study import Study
from codesign.config.sweep import QUALITY, Axis, Plan
from codesign.config.technology import (
    link_values,
    memory_values,
    style_values,
    technology_values,
)
from codesign.core.errors import InputError, UnknownNameError
from codesign.core.paths import get_path, path_units
from codesign.serving.design import Design
from codesign.study.drive import Progress, silent
from codesign.study.job import study_of
from codesign.study.sweep import sweep
from codesign.study.table import Table

GROUPS = ("technology", "chip", "stack", "quality")
NORMAL_90 = 1.6448536269514722  # standard deviations to the 5 % and 95 % quantile
# Sobol points in 50 dimensions correlate by 0.65 at 64 draws, strata by 0.1.
METHOD = "latin-hypercube"
QUANTILES = (0.05, 0.5, 0.95)
FEWEST = 2


@dataclass(frozen=True)
class Uncertainty:
    """Draws of constants and the metrics at each; a ``Table`` with summaries."""

    table: Table
    constants: tuple[str, ...]

    def quantiles(
        self, name: str, *, at: Sequence[float] = QUANTILES
    ) -> tuple[float, ...]:
        """Quantiles of a metric over the draws that could be evaluated."""
        values = self.table[name]
        finite = values[np.isfinite(values)]
        if not len(finite):
            raise InputError(f"{name}: is finite at no draw.")
        return tuple(float(q) for q in np.quantile(finite, at))

    def drivers(self, name: str) -> dict[str, float]:
        """Rank correlation of a metric with each constant, strongest first."""
        values = self.table[name]
        finite = np.isfinite(values)
        ranks = rankdata(values[finite])
        columns = self.table.to_numpy(list(self.constants))
        found = {
            path: _correlation(rankdata(column[finite]), ranks)
            for path, column in columns.items()
        }
        return dict(sorted(found.items(), key=lambda item: -abs(item[1])))


def uncertainty(
    asked: Study | Design,
    *,
    draws: int = 256,
    over: Sequence[str] = ("technology", "stack"),
    chip: str | Path | None = None,
    stack: str | Path | None = None,
    seed: int = 0,
    search: bool = False,
    metrics: Sequence[str] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    executor: str | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> Uncertainty:
    """Metrics over draws of the constants, each within its spread.

    Groups of ``over``: ``technology``, ``stack``, ``chip`` (constants of its
    style, memory and links) and ``quality``. Chip and stack are those that the
    study names; with a design they are named here. A constant is lognormal with
    the ``low`` and ``high`` of its entry at its 5 % and 95 % quantile, those of
    quality one standard deviation away; shares stay below 1. A Latin hypercube
    with a seed; with ``search`` the study is optimised at every draw.

    Assumes: constants are independent; what is a table, or has no spread, stays
    as it is; a chip keeps its anchor to the published figures, whose residuals
    were found at the central constants.

    Raises:
        InputError: an unknown group, or no name for a chip or stack.

    Example:
        ``uncertainty(study, draws=512).quantiles("energy_per_token_server")``
    """
    study = asked if isinstance(asked, Study) else study_of(asked)
    if draws < FEWEST:
        raise InputError(f"draws {draws}: at least {FEWEST} are needed.")
    named = {"chip": chip, "stack": stack}
    axes = [
        axis
        for group in over
        for path, info in constants_of(study, group, named=named).items()
        if (axis := spread_axis(study, path, info=info)) is not None
    ]
    if not axes:
        raise InputError(f"uncertainty over {', '.join(over)}: nothing has a spread.")
    plan = Plan(METHOD, tuple(axes), points=draws, seed=seed, search=search)
    table = sweep(
        study,
        plan,
        metrics=metrics,
        out=out,
        resume=resume,
        executor=executor,
        workers=workers,
        progress=progress,
    )
    return Uncertainty(table=table, constants=tuple(axis.path for axis in axes))


def constants_of(
    study: Study, group: str, *, named: Mapping[str, str | Path | None]
) -> dict[str, ValueInfo]:
    """What is known of each constant of a group, by its path in a design."""
    if group == "technology":
        return {f"technology.{p}": info for p, info in technology_values().items()}
    if group == "stack":
        info = stack_info(_name(study, group, named=named))
        return {f"stack.{p}": value for p, value in info.values.items()}
    if group == "chip":
        return dict(_chip_constants(_name(study, group, named=named)))
    if group == "quality":
        return quality_values()
    raise UnknownNameError(
        f'no group of constants is called "{group}". Allowed: {", ".join(GROUPS)}.'
    )


def spread_axis(study: Study, path: str, *, info: ValueInfo) -> Axis | None:
    """How a constant is drawn; None where it has no spread or is no number.

    Where the design holds another value than the entry, the spread keeps its
    factors.
    """
    spread = (info.low, info.value, info.high)
    if not all(isinstance(part, (int, float)) for part in spread):
        return None
    low, middle, high = (float(part) for part in spread)
    held = _held(study, path)
    if held is None or not low < high or not low <= middle <= high:
        return None
    share = info.unit.text == "1" and high <= 1.0
    axis = Axis(path, info.unit.text, most=1.0 if share else 0.0)
    if low <= 0 or held <= 0 or not low < middle < high:
        return _uniform(axis, low=low, high=high, share=share)
    deviations = 1.0 if path.startswith(QUALITY) else NORMAL_90
    is_normal = path.startswith(QUALITY) and info.note.startswith("normal")
    if is_normal:
        below, above = held - middle + low, held - middle + high
        return replace(axis, low=below, middle=held, high=above, scale="normal")
    return replace(
        axis,
        low=held * (low / middle) ** (1 / deviations),
        middle=held,
        high=held * (high / middle) ** (1 / deviations),
        scale="lognormal",
    )


def _uniform(axis: Axis, *, low: float, high: float, share: bool) -> Axis:
    most = min(high, 1.0) if share else high
    return replace(axis, low=max(low, 0.0), high=most, scale="linear")


def _held(study: Study, path: str) -> float | None:
    if path.startswith(QUALITY):
        source: Any = load_quality_constants(recipe=study.recipe)
        path = path.removeprefix(QUALITY)
    else:
        source = study.baseline
    value = np.asarray(get_path(source, path))
    return None if value.ndim else float(value)


def _name(
    study: Study, group: str, *, named: Mapping[str, str | Path | None]
) -> str | Path:
    given = named[group] or study.resolved.get("baseline", {}).get(group)
    if given is None:
        raise InputError(f'uncertainty: name the {group}, such as {group}="...".')
    return locate(str(given), study.path.resolve().parent)


def _chip_constants(name: str | Path) -> Iterator[tuple[str, ValueInfo]]:
    info = chip_info(name)
    known = path_units(Design)
    sheet = {path.rpartition(".")[2] for path in info.values}
    places = {
        "chip.style": {
            path.removeprefix("constants."): value
            for path, value in style_values(info.style).items()
        },
        "chip.dram": memory_values(info.memory),
        "chip.link": link_values(info.link),
    }
    for place, values in places.items():
        for path, value in values.items():
            whole = f"{place}.{path}"
            if whole in known and path not in sheet:
                yield whole, value


def _correlation(a: Any, b: Any) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
