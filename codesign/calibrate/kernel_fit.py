"""How good is the roofline of single kernels once its rates are measured?

Predictions of kernels -> factors on their parts of time by kind, chip, software and
format, and errors on shapes that the factors have not seen.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from codesign.calibrate.kernel_works import loop_length
from codesign.calibrate.kernels import PARTS, KernelPrediction
from codesign.calibrate.score import Score, score
from codesign.core.quantities import Factor, Fraction, Seconds

Floats = NDArray[np.float64]
NOISE = 0.1  # of a logarithm; beyond it a residual counts linearly
WEAK = 0.02  # weight of a logarithm of a factor against one error
FARTHEST = 4.0  # of the logarithm of a factor
SMALLEST = 1e-12  # seconds, so that a part that a kernel lacks has a logarithm
NANOSECOND = 1e-9
SLOWEST = 10.0  # ns per term of a loop
FIRST_EXPOSED, FIRST_LOOP = 0.1, 0.02  # where the fit begins
TOKENS = ("m", "batch_size", "kv_len", "num_tokens")
"""Sizes of a step; the others make the shape of a weight, cache or message."""
FEWEST_SHAPES = 4


@dataclass(frozen=True)
class KernelFit:
    """Factors on arithmetic, bytes and fixed time, and errors of unseen shapes.

    ``exposed`` is the share of the shorter of arithmetic and bytes that the longer does
    not hide, ``loop_time`` that of one term of the sums that a core forms in turn.
    """

    kind: str
    chip: str
    software: str
    format: str
    rows: int
    shapes: int
    compute: Factor
    memory: Factor
    fixed: Factor
    exposed: Fraction
    loop_time: Seconds
    unseen: Score


def fit_kernels(predictions: Sequence[KernelPrediction]) -> tuple[KernelFit, ...]:
    """Factors of every group, and each half of its shapes predicted by the other.

    t = a fixed + max(b compute, c memory) + x min(b compute, c memory) + l K

    K terms of a sum that one core forms in turn (``loop_length``), least squares of
    ln(t / measured) with a soft-L1 loss and weak priors of 1 on a, b and c, which K and
    bytes grow with alike. A shape is what stays when only tokens
    change; which half a shape is in is drawn with a fixed seed. Groups of fewer than
    four shapes are left out.
    """
    groups: defaultdict[tuple[str, ...], list[KernelPrediction]] = defaultdict(list)
    for each in predictions:
        row = each.row
        groups[(row.kind, row.chip, row.software, row.format)].append(each)
    fits = [_fit_group(key, members) for key, members in sorted(groups.items())]
    return tuple(fit for fit in fits if fit is not None)


def _fit_group(
    key: tuple[str, ...], members: Sequence[KernelPrediction]
) -> KernelFit | None:
    shapes = [_shape(p) for p in members]
    order = sorted(set(shapes))
    if len(order) < FEWEST_SHAPES:
        return None
    drawn = np.random.default_rng(0).permutation(len(order)) % 2
    odd = np.array([drawn[order.index(shape)] for shape in shapes], bool)
    parts = np.array([[getattr(p.cost, name) for name in PARTS] for p in members])
    parts = np.maximum(np.asarray(parts, float), SMALLEST)
    terms = np.array([[loop_length(p.row)] for p in members], float)
    parts = np.concatenate([parts, terms], axis=1)
    measured = np.array([p.row.duration for p in members], float)
    errors = np.zeros(len(members))
    for half in (odd, ~odd):
        found = _solve(parts[~half], measured[~half])
        errors[half] = _times(parts[half], found) / measured[half] - 1
    rates = _solve(parts, measured)
    factors = np.exp(rates[: len(PARTS)])
    exposed, loop = rates[len(PARTS) :]
    kind, chip, software, form = key
    return KernelFit(
        kind=kind,
        chip=chip,
        software=software,
        format=form,
        rows=len(members),
        shapes=len(order),
        compute=float(factors[0]),
        memory=float(factors[1]),
        fixed=float(factors[2]),
        exposed=float(exposed),
        loop_time=float(loop) * NANOSECOND if np.any(terms) else 0.0,
        unseen=score([float(error) for error in errors]),
    )


def _shape(prediction: KernelPrediction) -> tuple[float, ...]:
    sizes = prediction.row.shape
    return tuple(sizes[name] for name in sorted(sizes) if name not in TOKENS)


def _times(parts: Floats, rates: Floats) -> Floats:
    """Seconds of kernels; rates are three logarithms, a share, ns per term."""
    compute, memory, fixed = (np.exp(rates[: len(PARTS)]) * parts[:, :-1]).T
    exposed, loop = rates[len(PARTS) :]
    hidden = np.minimum(compute, memory)
    in_turn = loop * NANOSECOND * parts[:, -1]
    return fixed + np.maximum(compute, memory) + exposed * hidden + in_turn


def _solve(parts: Floats, measured: Floats) -> Floats:
    def residuals(rates: Floats) -> Floats:
        errors = np.log(_times(parts, rates) / measured)
        return np.concatenate([errors, WEAK * rates[:logarithms]])

    logarithms = len(PARTS)
    return least_squares(
        residuals,
        [*[0.0] * logarithms, FIRST_EXPOSED, FIRST_LOOP],
        bounds=(
            [*[-FARTHEST] * logarithms, 0.0, 0.0],
            [*[FARTHEST] * logarithms, 1.0, SLOWEST],
        ),
        loss="soft_l1",
        f_scale=NOISE,
    ).x
