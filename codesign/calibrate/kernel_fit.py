"""How good is the roofline of single kernels once its three rates are measured?

Predictions of kernels -> factors on their parts of time by kind, chip, software and
format, and errors on shapes that the factors have not seen.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from codesign.calibrate.kernels import PARTS, KernelPrediction
from codesign.calibrate.score import Score, score
from codesign.core.quantities import Factor

Floats = NDArray[np.float64]
NOISE = 0.1  # of a logarithm; beyond it a residual counts linearly
FARTHEST = 4.0  # of the logarithm of a factor
SMALLEST = 1e-12  # seconds, so that a part that a kernel lacks has a logarithm
TOKENS = ("m", "batch_size", "kv_len", "num_tokens")
"""Sizes of a step; the others make the shape of a weight, cache or message."""
FEWEST_SHAPES = 4


@dataclass(frozen=True)
class KernelFit:
    """Factors on arithmetic, bytes and fixed time, and errors of unseen shapes."""

    kind: str
    chip: str
    software: str
    format: str
    rows: int
    shapes: int
    compute: Factor
    memory: Factor
    fixed: Factor
    unseen: Score


def fit_kernels(predictions: Sequence[KernelPrediction]) -> tuple[KernelFit, ...]:
    """Factors of every group, and each half of its shapes predicted by the other.

    t = a fixed + max(b compute, c memory), least squares of ln(t / measured)
    with a soft-L1 loss. A shape is what stays when only tokens change; which half a
    shape is in is drawn with a fixed seed. Groups of fewer than four shapes are
    left out.
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
    measured = np.array([p.row.duration for p in members], float)
    errors = np.zeros(len(members))
    for half in (odd, ~odd):
        found = _solve(parts[~half], measured[~half])
        errors[half] = _times(parts[half], found) / measured[half] - 1
    factors = np.exp(_solve(parts, measured))
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
        unseen=score([float(error) for error in errors]),
    )


def _shape(prediction: KernelPrediction) -> tuple[float, ...]:
    sizes = prediction.row.shape
    return tuple(sizes[name] for name in sorted(sizes) if name not in TOKENS)


def _times(parts: Floats, logarithms: Floats) -> Floats:
    compute, memory, fixed = (np.exp(logarithms) * parts).T
    return fixed + np.maximum(compute, memory)


def _solve(parts: Floats, measured: Floats) -> Floats:
    def residuals(logarithms: Floats) -> Floats:
        return np.log(_times(parts, logarithms) / measured)

    return least_squares(
        residuals,
        np.zeros(len(PARTS)),
        bounds=(-FARTHEST, FARTHEST),
        loss="soft_l1",
        f_scale=NOISE,
    ).x
