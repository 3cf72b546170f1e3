"""What do the powers of single kernels say of a chip's picojoules?

Predictions of kernels -> factors on the energy of products and bytes and on the power
of a busy chip, with how well kernels know them; and priors that heed them.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from codesign.calibrate.kernels import COLD, KernelPrediction
from codesign.config.calibration import Constant
from codesign.core.errors import InputError

Floats = NDArray[np.float64]
FACTORS = (
    "stack.compute_energy_factor",
    "stack.traffic_energy_factor",
    "stack.active_power_factor",
)
WEAK = 1.0  # spread of a factor's logarithm before any kernel is seen
NOISE = 0.2  # of the logarithm of a median of readings
FEWEST_READINGS = 3  # of a median
FEWEST_KINDS = 2
DECADE, INTENSITY_STEP = 10.0, 4.0  # widths of a class of durations and intensities
LIMIT_POWER = 12.0  # how sharply the power limit cuts

Class = tuple[str, str, str, int, int]


@dataclass(frozen=True)
class KernelPower:
    """Factors that the powers of a chip's kernels ask for.

    ``factors`` are geometric means over ``kinds`` of kernels, in the order of
    ``FACTORS``, and ``spreads`` the standard deviations of their logarithms, between
    kinds and within one; ``error`` is the median error of the power of a class of
    kernels by the factors of its kind, ``error_before`` that with factors of 1.
    """

    chip: str
    readings: int
    classes: int
    kinds: tuple[str, ...]
    factors: tuple[float, ...]
    spreads: tuple[float, ...]
    error: float
    error_before: float


@dataclass(frozen=True)
class _Classes:
    """Medians of kernels that are alike: watts by factor, other watts, measured."""

    kinds: tuple[str, ...]
    readings: int
    scaled: Floats
    rest: Floats
    measured: Floats
    limit: float

    def of(self, kind: str) -> "_Classes":
        at = [i for i, each in enumerate(self.kinds) if each == kind]
        return replace(
            self,
            kinds=tuple(self.kinds[i] for i in at),
            scaled=self.scaled[at],
            rest=self.rest[at],
            measured=self.measured[at],
        )


def fit_kernel_power(
    predictions: Sequence[KernelPrediction], *, chip: str
) -> KernelPower:
    """Factors of each kind of kernels on a chip, their mean and their scatter.

    minimize sum_g rho(ln(P_g / measured_g) / 0.2) + sum_f (ln f)^2
    P = S_12(P_max, P_still + f_a P_active b / T + (f_c E_c + f_t E_t + E_rest) / T)

    over medians of kernels of one kind, software and format, of durations within a
    decade and intensities within a factor of four; T the measured time, b the predicted
    time at work, S_12(a, b) = (a^-12 + b^-12)^(-1/12).

    Assumes: single readings scatter by 1.2 to 4 since the meter lags, so that medians
    are fitted; kernels whose operand is smaller than twice the cache draw no DRAM power
    and are left out; joules are those at full clock, which at the power limit is an
    upper bound.
    Source: docs/decisions/33_stacks_are_fitted_together.md.

    Raises:
        InputError: fewer than two kinds of kernels with readings on the chip.
    """
    classes = _classes([p for p in predictions if p.row.chip == chip])
    kinds = tuple(sorted(set(classes.kinds)))
    if len(kinds) < FEWEST_KINDS:
        known = sorted({p.row.chip for p in predictions if _usable(p)})
        raise InputError(
            f"kernels of chip {chip!r} have power readings of {len(kinds)} kinds; "
            f"{FEWEST_KINDS} are needed. Chips with readings: "
            f"{', '.join(known) or 'none'}."
        )
    solved = [_solve(classes.of(kind)) for kind in kinds]
    moves, variances = (np.stack(each) for each in zip(*solved, strict=True))
    errors = [_errors(m, classes.of(k)) for k, m in zip(kinds, moves, strict=True)]
    before = _errors(np.zeros(len(FACTORS)), classes)
    spread = moves.var(axis=0, ddof=1) + variances.mean(axis=0)
    return KernelPower(
        chip=chip,
        readings=classes.readings,
        classes=len(classes.kinds),
        kinds=kinds,
        factors=tuple(map(float, np.exp(moves.mean(axis=0)))),
        spreads=tuple(map(float, np.sqrt(spread))),
        error=float(np.median(np.abs(np.concatenate(errors)))),
        error_before=float(np.median(np.abs(before))),
    )


def with_kernels(
    constants: Sequence[Constant], power: KernelPower
) -> tuple[Constant, ...]:
    """Constants whose priors heed what kernels say of them.

    ln prior' = ln prior + w ln f,  1 / spread'^2 = 1 / spread^2 + 1 / s^2,
    w = spread'^2 / s^2

    with f the factor of the kernels and s its scatter between kinds: the product of
    two normal densities, the first of what served work adds to single kernels.
    """
    known = {
        path: (factor, spread)
        for path, factor, spread in zip(
            FACTORS, power.factors, power.spreads, strict=True
        )
    }
    return tuple(
        _sharpened(c, factor=known[c.path][0], spread=known[c.path][1])
        if c.path in known
        else c
        for c in constants
    )


def _sharpened(constant: Constant, *, factor: float, spread: float) -> Constant:
    if constant.prior is None:
        raise InputError(f"{constant.path}: kernels need a prior to sharpen.")
    precision = 1 / constant.spread**2 + 1 / spread**2
    share = 1 / spread**2 / precision
    return replace(
        constant,
        prior=constant.prior * math.exp(share * math.log(factor)),
        spread=math.sqrt(1 / precision),
    )


def _usable(prediction: KernelPrediction) -> bool:
    cost, row = prediction.cost, prediction.row
    cold = float(cost.stored) > COLD * float(cost.cache)
    return float(row.power) > 0 and cold and float(cost.intensity) > 0


def _class_of(prediction: KernelPrediction) -> Class:
    row = prediction.row
    return (
        row.kind,
        row.software,
        row.format,
        math.floor(math.log(row.duration, DECADE)),
        math.floor(math.log(prediction.cost.intensity, INTENSITY_STEP)),
    )


def _classes(predictions: Sequence[KernelPrediction]) -> _Classes:
    members: defaultdict[Class, list[KernelPrediction]] = defaultdict(list)
    for each in predictions:
        if _usable(each):
            members[_class_of(each)].append(each)
    groups = {k: v for k, v in members.items() if len(v) >= FEWEST_READINGS}
    watts = np.array([np.median(_table(group), axis=0) for group in groups.values()])
    watts = watts.reshape(-1, len(FACTORS) + 1)
    measured = [float(np.median(_readings(group))) for group in groups.values()]
    return _Classes(
        kinds=tuple(key[0] for key in groups),
        readings=sum(map(len, groups.values())),
        scaled=watts[:, :-1],
        rest=watts[:, -1],
        measured=np.array(measured),
        limit=max((float(p.cost.power_limit) for p in predictions), default=math.nan),
    )


def _readings(group: Sequence[KernelPrediction]) -> list[float]:
    return [float(p.row.power) for p in group]


def _table(group: Sequence[KernelPrediction]) -> Floats:
    return np.array([_watts(p) for p in group])


def _watts(prediction: KernelPrediction) -> list[float]:
    """Power by factor, and the rest, over the measured time."""
    cost, duration = prediction.cost, prediction.row.duration
    joules = cost.joules
    busy = min(max(cost.compute, cost.memory) / duration, 1.0)
    rest = joules.cells + joules.converter + joules.vector + joules.sram + joules.link
    return [
        float(joules.compute / duration),
        float((joules.dram + joules.path) / duration),
        float(cost.active_power * busy),
        float(cost.still_power + rest / duration),
    ]


def _errors(moves: Floats, classes: _Classes) -> Floats:
    """ln(predicted / measured) of every class."""
    free = classes.scaled @ np.exp(moves) + classes.rest
    cut = free**-LIMIT_POWER + classes.limit**-LIMIT_POWER
    return -np.log(cut) / LIMIT_POWER - np.log(classes.measured)


def _solve(classes: _Classes) -> tuple[Floats, Floats]:
    """Logarithms of the factors and their variances, from the curvature of the loss."""

    def residuals(moves: Floats) -> Floats:
        return np.concatenate([_errors(moves, classes) / NOISE, moves / WEAK])

    start = np.full(len(FACTORS), -WEAK)
    found = least_squares(residuals, start, loss="soft_l1")
    return found.x, np.diag(np.linalg.inv(found.jac.T @ found.jac))
