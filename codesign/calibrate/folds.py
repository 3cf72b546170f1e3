"""How good are fitted constants on models that they have not seen?

Runs and constants -> predictions of each model from a fit to all the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
from numpy.typing import NDArray

from codesign.calibrate.fit import Case, Fit, fit
from codesign.calibrate.forecast import forecast
from codesign.calibrate.predict import Prediction, predictions
from codesign.calibrate.runs import Runs
from codesign.core.errors import InputError

Floats = NDArray[np.float64]
Progress = Callable[[str], None]
FEWEST_MODELS = 2


@dataclass(frozen=True)
class Folds:
    """The fit to all runs, and each model predicted by a fit without it.

    ``unseen`` are those predictions in the order of the runs; ``jackknife`` the
    standard deviation of each constant's logarithm over the fits,
    s^2 = (n - 1) / n sum_k (c_k - mean)^2.
    """

    fit: Fit
    unseen: tuple[Prediction, ...]
    jackknife: Floats


def leave_one_model_out(
    cases: Sequence[Case], *, progress: Progress = lambda _: None
) -> tuple[Folds, ...]:
    """Fits without each model in turn, in all cases, and what they predict of it.

    Raises:
        InputError: a case with fewer than two models.
    """
    for case in cases:
        _check(case)
    models = sorted({row.model for case in cases for row in case.runs.rows})
    count = sum(len(case.runs.rows) for case in cases)
    progress(f"all      {count} runs of {len(models)} models")
    every = fit(cases)
    start = [found.moves for found in every]
    unseen: list[dict[int, Prediction]] = [{} for _ in cases]
    moves: list[list[Floats]] = []
    for model in models:
        progress(f"without  {model}")
        fits = fit([_split(case, model)[0] for case in cases], start=start)
        moves.append([found.moves for found in fits])
        for case, found, known in zip(cases, fits, unseen, strict=True):
            _, outside = _split(case, model)
            if outside:
                new = predict(case.runs.take(outside), found)
                known.update(zip(outside, new, strict=True))
    spread = [
        np.var(np.stack(each), axis=0) * (len(models) - 1)
        for each in zip(*moves, strict=True)
    ]
    return tuple(
        Folds(
            fit=found,
            unseen=tuple(known[i] for i in range(len(known))),
            jackknife=np.sqrt(variance),
        )
        for found, known, variance in zip(every, unseen, spread, strict=True)
    )


def _check(case: Case) -> None:
    models = sorted({row.model for row in case.runs.rows})
    if len(models) < FEWEST_MODELS:
        raise InputError(
            f"leave-one-model-out needs {FEWEST_MODELS} models; the rows hold "
            f"{len(models)}: {', '.join(models)}."
        )


def _split(case: Case, model: str) -> tuple[Case, list[int]]:
    """The case without a model, and the places of that model's runs."""
    names = [row.model for row in case.runs.rows]
    outside = [i for i, name in enumerate(names) if name == model]
    if not outside:
        return case, outside
    inside = [i for i, name in enumerate(names) if name != model]
    return replace(case, runs=case.runs.take(inside)), outside


def predict(runs: Runs, found: Fit) -> tuple[Prediction, ...]:
    """Predictions of runs with fitted constants."""
    paths = tuple(c.path for c in found.constants)
    values = forecast(runs, paths=paths, shifts=found.shifts(runs))
    return predictions(runs, jax.device_get(values))
