"""What can the page ask, and what is the answer? All of the explorer but HTTP.

A study, design or run to start from, and requests as plain data -> plain data.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Event
from typing import Any

import jax
import numpy as np

from codesign.config.catalogue import list_presets
from codesign.config.chips import chip_info
from codesign.config.limits import Limit
from codesign.config.study import Study
from codesign.core.errors import InputError, InterruptedRunError
from codesign.core.paths import get_path
from codesign.core.record import as_float64
from codesign.explore import export, searching, view
from codesign.explore.frame import Frame, Scale, build_scale, look, place_of
from codesign.explore.library import Library
from codesign.explore.limits import Use, limit_uses, read_limits
from codesign.explore.sliders import Slider, searched_variables, sliders_of
from codesign.explore.state import (
    Origin,
    State,
    followers,
    place_state,
    read_state,
    state_of,
    state_texts,
)
from codesign.explore.step import gradient_step
from codesign.optimize.result import Rung
from codesign.serving.design import Design

SLICE_POINTS, MOST_POINTS = 17, 64
KEPT_FRAMES = 256
MOST_PATHS = 200

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """One request: what is shown, what it is compared with, and the question."""

    state: State
    pin: State
    of: str
    limits: tuple[Limit, ...]
    unlocked: tuple[str, ...]


class Session:
    """A study to explore, the folder of runs, and what was computed so far."""

    def __init__(self, study: Study, *, origin: Origin, runs: Path) -> None:
        self.study = study
        self.library = Library(runs)
        self.sliders: tuple[Slider, ...] = sliders_of(study)
        self.searcher = searching.Searcher()
        self._origins = {"": origin}
        self._scale: Scale | None = None
        self._moves = 0
        self._frame = lru_cache(maxsize=KEPT_FRAMES)(self._look)
        self._design = lru_cache(maxsize=KEPT_FRAMES)(self._place)

    @property
    def scale(self) -> Scale:
        """What quality is measured with, built at its first use."""
        if self._scale is None:
            self._scale = build_scale(self.study)
        return self._scale

    def warm(self, progress: Progress) -> None:
        """Compile what a moved slider needs, before the first one is moved."""
        progress("reading the quality law")
        _ = self.scale
        progress("compiling the model and its gradients (15 s, once)")
        self._frame(_Key(State()), self.study.minimize)
        progress("ready")

    def catalogue(self) -> dict[str, Any]:
        """Presets, sliders, metrics and limits that the page is built from."""
        origin = self._origins[""]
        return {
            "name": self.study.name,
            "chips": _titles(),
            "models": list_presets("models"),
            "stacks": list_presets("stacks"),
            "own": {n: getattr(origin, n) for n in ("chip", "model", "stack")},
            "sliders": [slider.as_dict() for slider in self.sliders],
            "metrics": view.metric_choices(self.study.minimize),
            "minimize": self.study.minimize,
            "limits": [limit.text for limit in self.study.limits],
            "starts": searching.STARTS,
        }

    def evaluate(self, data: Any) -> dict[str, Any]:
        """Metrics, elasticities, limits and breakdowns of a state."""
        self._moves += 1
        asked = self._asked(data)
        frame, pinned = self._shown(asked), self._pinned(asked)
        tied = self._tied(asked.state)
        paths = [m["path"] for m in view.metric_choices(self.study.minimize)]
        return {
            "values": self._values(frame.design),
            "metrics": view.metrics_view(
                frame, pinned=pinned, stack=self._stack(asked.state), paths=paths
            ),
            "elasticities": view.elasticity_view(frame, self.sliders, tied=tied),
            "limits": view.limits_view(self._uses(asked)(frame)),
            "quality": view.quality_view(frame),
            "stack": self._stack(asked.state),
            **view.breakdown_view(frame),
        }

    def roofline(self, data: Any) -> dict[str, Any]:
        """Operators and roofs of a state."""
        return view.roofline_view(self._shown(self._asked(data)))

    def slice(self, data: Any) -> dict[str, Any]:
        """The metric along one slider, from end to end.

        Raises:
            InterruptedRunError: a slider was moved meanwhile.
        """
        asked, moves = self._asked(data), self._moves
        slider = self._slider(str(data.get("path", "")))
        found = slider.variable
        at = float(get_path(self._shown(asked).design, slider.path))
        spaced = np.geomspace if slider.log else np.linspace
        low, high = min(found.low, at or found.low), max(found.high, at)
        values = found.choices or tuple(spaced(low, high, SLICE_POINTS))
        values = values if at > 0 or not slider.log else ()
        points: list[dict[str, float]] = []
        for value in values:
            if self._moves != moves:
                raise InterruptedRunError("A slider was moved meanwhile.")
            try:
                frame = self._at(asked, {slider.path: float(value)})
            except InputError:
                continue
            points.append({"x": float(value), "y": frame.value})
        return {"path": slider.path, "of": asked.of, "points": points, "at": at}

    def step(self, data: Any) -> dict[str, Any]:
        """One step down the gradient of the unlocked variables."""
        asked = self._asked(data)
        here = self._values(self._shown(asked).design)
        tied = self._tied(asked.state)

        def moved(values: Mapping[str, float], of: str) -> Frame:
            changed = {p: v for p, v in values.items() if v != here[p]}
            return self._at(replace(asked, of=of), changed)

        found = gradient_step(
            here,
            of=asked.of,
            sliders=[s for s in self.sliders if s.path in asked.unlocked],
            tied=tied,
            look=moved,
            uses=self._uses(asked),
        )
        changed = {p: v for p, v in found.values.items() if v != here[p]}
        values = {**asked.state.values, **changed}
        return {
            "state": state_texts(replace(asked.state, values=values)),
            "moved": bool(changed),
            "before": found.before,
            "after": found.after,
            "text": found.text,
        }

    def optimise(self, data: Any, *, progress: Progress, stop: Event) -> dict[str, Any]:
        """The best legal design over the unlocked variables."""
        asked = self._asked(data)
        question = self._question(asked, starts=data.get("starts"))
        rung = self.searcher.optimise(question, progress=progress, stop=stop)
        before = self._shown(asked).value
        return {**self._rung(asked, rung), "before": before, "after": rung.objective}

    def pareto(self, data: Any, *, progress: Progress, stop: Event) -> dict[str, Any]:
        """Designs that no other beats in the metric and a second one."""
        asked = self._asked(data)
        x = str(data.get("x", ""))
        points = _whole(data.get("points", 12), "points", most=MOST_POINTS)
        question = self._question(asked, starts=data.get("starts"))
        front = self.searcher.front(
            question, x=x, points=points, progress=progress, stop=stop
        )
        places = searching.front_points(front, x=x)
        found = [
            {**place, **self._rung(asked, rung)}
            for place, rung in zip(places, front.rungs, strict=True)
        ]
        return {"x": x, "y": front.metrics[0], "points": found}

    def export(self, data: Any) -> str:
        """The design as YAML, a study around it, or Python."""
        asked, form = self._asked(data), str(data.get("form", ""))
        frame = self._shown(asked)
        design = self._placed(asked.state)
        if form == "design":
            comment = f"from the explorer, {self.study.name}"
            return export.design_yaml(design, comment=comment)
        words = export.describe(self._origin(asked.state), asked.state, design=design)
        if form == "python":
            return export.python_code(words, of=asked.of)
        if form != "study":
            raise InputError(f'"{form}": expected design, study or python.')
        variables = searched_variables(self.sliders, values=self._values(frame.design))
        free = [v for v in variables if v.path in asked.unlocked]
        return export.study_yaml(
            words,
            name=f"{self.study.name}-explored",
            variables=free,
            minimize=asked.of,
            limits=asked.limits,
            extra={"search": {"starts": self.study.search.starts}},
        )

    def _origin(self, state: State) -> Origin:
        if state.source not in self._origins:
            self._origins[state.source] = Origin(self.library.design(state.source))
        return self._origins[state.source]

    def _placed(self, state: State) -> Design:
        return self._design(_Key(state))

    def _place(self, key: "_Key") -> Design:
        return place_state(self._origin(key.state), key.state)

    def _tied(self, state: State) -> dict[str, tuple[str, ...]]:
        return followers(self._placed(state), state)

    def _asked(self, data: Any) -> Asked:
        if not isinstance(data, dict):
            raise InputError("expected a JSON object.")
        of = str(data.get("of") or self.study.minimize)
        place_of(of)
        limits, unlocked = data.get("limits"), data.get("unlocked")
        return Asked(
            state=read_state(data.get("state", {})),
            pin=read_state(data.get("pin") or {}),
            of=of,
            limits=self.study.limits if limits is None else read_limits(_list(limits)),
            unlocked=tuple(s.path for s in self.sliders if s.unlocked)
            if unlocked is None
            else tuple(map(str, _list(unlocked))),
        )

    def _look(self, key: "_Key", of: str) -> Frame:
        return look(self._placed(key.state), of, scale=self.scale)

    def _shown(self, asked: Asked) -> Frame:
        return self._frame(_Key(asked.state), asked.of)

    def _pinned(self, asked: Asked) -> Frame:
        return self._frame(_Key(asked.pin), self.study.minimize)

    def _at(self, asked: Asked, values: Mapping[str, float]) -> Frame:
        state = replace(asked.state, values={**asked.state.values, **values})
        return self._frame(_Key(state), asked.of)

    def _uses(self, asked: Asked) -> Callable[[Frame], Sequence[Use]]:
        pinned = self._pinned(asked)
        return lambda frame: limit_uses(
            frame, asked.limits, pinned=pinned, off=self.study.off
        )

    def _values(self, design: Design) -> dict[str, float]:
        return {s.path: float(get_path(design, s.path)) for s in self.sliders}

    def _slider(self, path: str) -> Slider:
        known = {slider.path: slider for slider in self.sliders}
        if path not in known:
            raise InputError(f"{path}: no slider of that name.")
        return known[path]

    def _stack(self, state: State) -> str:
        """Name of the serving stack, empty where it came from a file."""
        origin = self._origin(state)
        if state.stack:
            return state.stack
        moved = bool(state.chip) and state.chip != origin.chip
        return chip_info(state.chip).stack if moved else origin.stack

    def _question(self, asked: Asked, *, starts: Any) -> searching.Question:
        frame = self._shown(asked)
        return searching.ask(
            self.study,
            frame,
            sliders=self.sliders,
            unlocked=asked.unlocked,
            limits=asked.limits,
            pinned=self._pinned(asked),
            reference=self.study.reference,
            values=self._values(frame.design),
            starts=_whole(starts or searching.STARTS, "starts", most=1024),
        )

    def _rung(self, asked: Asked, rung: Rung) -> dict[str, Any]:
        """The state of a design that a search found."""
        origin = self._origin(asked.state)
        design = jax.device_get(as_float64(rung.design))
        found = state_of(origin, asked.state, design=design)
        return {
            "state": state_texts(found),
            "feasible": rung.feasible,
            "text": searching.outcome_text(rung, of=asked.of),
        }


class _Key:
    """A state that a cache can hold."""

    def __init__(self, state: State) -> None:
        self.state, self.key = state, state.key()

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.key == self.key


def _titles() -> list[dict[str, str]]:
    return [{"name": n, "title": chip_info(n).title} for n in list_presets("chips")]


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"expected a list, found {value!r}.")
    return value[:MOST_PATHS]


def _whole(value: Any, name: str, *, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
        raise InputError(f"{name}: expected a whole number from 1 to {most}.")
    return value
