"""How good are fitted constants on models that they have not seen?

Runs and constants -> predictions of each model from a fit to all the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from numpy.typing import NDArray

from codesign.calibrate.fit import Fit, fit
from codesign.calibrate.forecast import forecast
from codesign.calibrate.predict import Prediction, predictions
from codesign.calibrate.runs import Runs
from codesign.config.calibration import Constant
from codesign.core.errors import InputError

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
    jackknife: NDArray[np.float64]


def leave_one_model_out(
    runs: Runs, constants: Sequence[Constant], *, progress: Progress = lambda _: None
) -> Folds:
    """Fits without each model in turn, and what they predict of it.

    Raises:
        InputError: fewer than two models, or stacks that differ.
    """
    names = [row.model for row in runs.rows]
    models = sorted(set(names))
    if len(models) < FEWEST_MODELS:
        raise InputError(
            f"leave-one-model-out needs {FEWEST_MODELS} models; the rows hold "
            f"{len(models)}: {', '.join(models)}."
        )
    progress(f"all      {len(names)} runs of {len(models)} models")
    every = fit(runs, constants)
    unseen: dict[int, Prediction] = {}
    moves: list[NDArray[np.float64]] = []
    for model in models:
        progress(f"without  {model}")
        inside = [i for i, name in enumerate(names) if name != model]
        outside = [i for i, name in enumerate(names) if name == model]
        found = fit(runs.take(inside), constants, start=every.moves)
        moves.append(found.moves)
        unseen |= zip(outside, predict(runs.take(outside), found), strict=True)
    spread = np.var(np.stack(moves), axis=0) * (len(models) - 1)
    return Folds(
        fit=every,
        unseen=tuple(unseen[i] for i in range(len(names))),
        jackknife=np.sqrt(spread),
    )


def predict(runs: Runs, found: Fit) -> tuple[Prediction, ...]:
    """Predictions of runs with fitted constants."""
    paths = tuple(c.path for c in found.constants)
    values = forecast(runs, paths=paths, shifts=found.shifts(runs))
    return predictions(runs, jax.device_get(values))
