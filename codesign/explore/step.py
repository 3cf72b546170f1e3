"""Where does one step down the gradient lead?

Frame, unlocked sliders, limits -> a design that is better in one metric, to first
order along no limit that it touches.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from codesign.explore.frame import Frame, slope
from codesign.explore.limits import KEPT, Use
from codesign.explore.sliders import Slider
from codesign.report.tables import BETTER

Floats = NDArray[np.float64]
LARGEST = 0.1  # move of any ln parameter in one step
NEAR = 0.02  # ln(use / limit) from which a limit turns the step along itself
EDGE = 1e-9  # of ln parameter, for standing at the end of a range
HALVINGS = 8
FLAT = 1e-10  # slope that counts as none
LEAST = 1e-9  # relative gain that counts as one
SIGNED = "quality."
DIGITS = 8  # of a value after a step; fewer than a float has, and enough for limits
STUCK = "No step within the limits improves it: an optimum, or a kink."

Look = Callable[[Mapping[str, float], str], Frame]
Uses = Callable[[Frame], Sequence[Use]]


@dataclass(frozen=True)
class Step:
    """Values after a step, what it gained, and a sentence about it."""

    values: dict[str, float]
    before: float
    after: float
    text: str


def gradient_step(
    at: Mapping[str, float],
    *,
    of: str,
    sliders: Sequence[Slider],
    tied: Mapping[str, tuple[str, ...]],
    look: Look,
    uses: Uses,
) -> Step:
    """Move the sliders a tenth at most down the projected gradient.

    d = -g - sum l_i a_i,  l >= 0 minimising |d|:  the steepest direction that, to
    first order, keeps every limit i (slopes a_i) which is touched or broken; ends of
    ranges count as limits. The step is halved until the metric is better and no
    limit is broken further. Choices stay; integers go to the nearest, and where that
    leads nowhere those with few values, such as stacks, stay too.

    Source: Rosen, J. SIAM 8(1), 1960 (gradient projection); Lawson and Hanson,
    Solving Least Squares Problems, 1974 (non-negative least squares).
    """
    moving = [s for s in sliders if not s.variable.choices and at[s.path] > 0]
    finer = [s for s in moving if _is_fine(s, at[s.path])]
    step = _attempt(at, moving, of=of, tied=tied, look=look, uses=uses)
    if step.values != at or len(finer) == len(moving):
        return step
    again = _attempt(at, finer, of=of, tied=tied, look=look, uses=uses)
    return again if again.values != at else step


def _is_fine(slider: Slider, value: float) -> bool:
    """Whether a step moves a variable by more than its rounding."""
    step = slider.variable.multiple or float(slider.variable.integer)
    return LARGEST * value >= 2.0 * step


def _attempt(
    at: Mapping[str, float],
    moving: Sequence[Slider],
    *,
    of: str,
    tied: Mapping[str, tuple[str, ...]],
    look: Look,
    uses: Uses,
) -> Step:
    """One step of some of the sliders; its values are as they were if none helps."""
    first = look(at, of)
    if not np.isfinite(first.value) or not _size(first):
        return _stay(at, first, text="The metric has no slope here.")
    sense = float(-BETTER.get(of, -1) or 1)
    own = sense * _slopes(first, moving, tied=tied) / _size(first)
    if not moving or float(np.max(np.abs(own))) < FLAT:
        return _stay(at, first, text="No unlocked variable moves this metric.")
    used = list(uses(first))
    touched = [use for use in used if -NEAR < use.excess < np.inf]
    walls = [_wall(use, at, moving=moving, tied=tied, look=look) for use in touched]
    walls += _ends(at, moving)
    direction = _project(-own, walls)
    steepest = float(np.max(np.abs(direction)))
    if steepest < FLAT or float(own @ direction) > -FLAT:
        return _stay(at, first, text="No unlocked variable improves it in the limits.")
    length = LARGEST / steepest
    for _ in range(HALVINGS):
        values = _moved(at, moving, moves=length * direction)
        found = look(values, of)
        gain = sense * (first.value - found.value) / _size(first)
        if gain > LEAST and not _worse(uses(found), used):
            text = _words(at, values, moving=moving)
            return Step({**at, **values}, first.value, found.value, text)
        length /= 2
    return _stay(at, first, text=STUCK)


def _slopes(
    frame: Frame, moving: Sequence[Slider], *, tied: Mapping[str, tuple[str, ...]]
) -> Floats:
    return np.array([slope(frame, s.path, tied=tied.get(s.path, ())) for s in moving])


def _size(frame: Frame) -> float:
    """What makes slopes relative; metrics that may be negative stay as they are."""
    return 1.0 if frame.of.startswith(SIGNED) else abs(frame.value)


def _wall(
    use: Use,
    at: Mapping[str, float],
    *,
    moving: Sequence[Slider],
    tied: Mapping[str, tuple[str, ...]],
    look: Look,
) -> Floats:
    """Slopes of ln(use / limit) in the logarithms of the moving parameters."""
    frame = look(at, use.metric)
    slopes = use.sense * _slopes(frame, moving, tied=tied)
    slopes = slopes if use.difference else slopes / _size(frame)
    if use.path is not None:
        slopes = slopes - use.sense * np.array([s.path == use.path for s in moving])
    return slopes


def _ends(at: Mapping[str, float], moving: Sequence[Slider]) -> list[Floats]:
    walls: list[Floats] = []
    for index, slider in enumerate(moving):
        value = np.log(at[slider.path])
        for sign, end in ((1.0, slider.variable.high), (-1.0, slider.variable.low)):
            if sign * (value - np.log(end)) > -EDGE:
                walls.append(sign * np.eye(len(moving))[index])
    return walls


def _project(direction: Floats, walls: Sequence[Floats]) -> Floats:
    """Nearest direction that does not climb any wall."""
    if not walls:
        return direction
    matrix = np.stack(walls, axis=1)
    scale = np.maximum(np.linalg.norm(matrix, axis=0), FLAT)
    prices, _ = nnls(matrix / scale, direction)
    return direction - (matrix / scale) @ prices


def _moved(
    at: Mapping[str, float], moving: Sequence[Slider], *, moves: Floats
) -> dict[str, float]:
    found: dict[str, float] = {}
    for slider, move in zip(moving, moves, strict=True):
        value = at[slider.path] * float(np.exp(move))
        if move:
            found[slider.path] = legal(slider, value)
    return found


def legal(slider: Slider, value: float) -> float:
    """The nearest legal value of a slider, within its range."""
    variable = slider.variable
    if variable.choices:
        options = np.array(variable.choices)
        return float(options[np.argmin(np.abs(np.log(options / value)))])
    step = variable.multiple or float(variable.integer)
    value = step * round(value / step) if step else float(f"{value:.{DIGITS}g}")
    return float(np.clip(value, variable.low, variable.high))


def _worse(after: Sequence[Use], before: Sequence[Use]) -> bool:
    """Whether a limit is broken that was kept, or further than it was."""
    return any(
        new.excess > max(old.excess, 0.0) + KEPT
        for new, old in zip(after, before, strict=True)
    )


def _words(
    at: Mapping[str, float],
    values: Mapping[str, float],
    *,
    moving: Sequence[Slider],
) -> str:
    """The largest moves, in words."""
    moves = {s.title: values.get(s.path, at[s.path]) / at[s.path] - 1 for s in moving}
    order = sorted(moves, key=lambda title: -abs(moves[title]))[:3]
    shown = [f"{title} {moves[title]:+.1%}" for title in order if moves[title]]
    return ", ".join(shown).replace("-", "−")


def _stay(at: Mapping[str, float], frame: Frame, *, text: str) -> Step:
    return Step(dict(at), frame.value, frame.value, text)
