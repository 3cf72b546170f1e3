"""What does a study ask? Baseline, free variables, objective and limits."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codesign.config.chances import Chances, Handoff
from codesign.config.limits import Limit
from codesign.config.recipe import (
    Recipe,
    read_recipe,
    read_reference,
    reference_recipe,
)
from codesign.config.sweep import Plan
from codesign.config.terms import VOCABULARY
from codesign.config.variables import Variable
from codesign.config.yaml import Problems
from codesign.model.transformer import Transformer
from codesign.outcome.terms import Terms
from codesign.serving.design import Design

OBJECTIVE = "energy_per_token_server"
SHARED = ("chip", "system")


@dataclass(frozen=True)
class Search:
    """How many starts, and the seed of every draw."""

    starts: int = 256
    seed: int = 0


@dataclass(frozen=True)
class Cases:
    """Workloads or models that one design serves.

    ``shared`` names the groups of variables that are one for all cases. ``judge``
    says what is minimised: the ``mean`` of the objective under the weights, or the
    ``worst`` ratio to the specialist of a case.
    """

    names: tuple[str, ...]
    studies: tuple["Study", ...]
    weights: tuple[float, ...]
    judge: str = "worst"
    shared: tuple[str, ...] = SHARED


@dataclass(frozen=True)
class Study:
    """A question to the search, read from a file.

    ``tune`` holds path prefixes of the variables that the baseline may tune,
    ``off`` the names of always-on limits that are switched off, ``resolved``
    the content of the file with every default filled in but for recipe,
    reference and budget, which stand there only where the file names them. A
    study that only sweeps may have no ``free`` variables; ``sweep`` holds its
    points. ``compared`` is the reference of quality where no file names it.
    ``cases``, ``chances`` and ``handoff`` are the sections ``scenarios``,
    ``robust`` and ``split``.
    """

    name: str
    path: Path
    baseline: Design
    baseline_text: dict[str, Any]
    tune: tuple[str, ...]
    free: tuple[Variable, ...]
    minimize: str
    limits: tuple[Limit, ...]
    off: tuple[str, ...] = ()
    search: Search = Search()
    resolved: dict[str, Any] = field(default_factory=dict[str, Any])
    sweep: Plan | None = None
    compared: Transformer | None = None
    cases: Cases | None = None
    chances: Chances | None = None
    handoff: Handoff | None = None

    @property
    def recipe(self) -> Recipe:
        """How the models of the study get their formats."""
        return read_recipe(self.resolved.get("recipe"), Problems())

    @property
    def reference_recipe(self) -> Recipe:
        """How the reference got its formats, the study's recipe unless named."""
        return reference_recipe(self.resolved.get("reference"), self.recipe)

    @property
    def terms(self) -> Terms:
        """What stays equal while designs change."""
        return Terms(
            compute=self.resolved.get("budget") == "compute",
            text=VOCABULARY in self._moving(),
            answers=self.resolved.get("answers") == "equal",
        )

    def _moving(self) -> set[str]:
        """Paths of what is free or swept."""
        axes = self.sweep.axes if self.sweep else ()
        return {variable.path for variable in (*self.free, *axes)}

    @property
    def reference(self) -> Transformer:
        """The model that quality is relative to, the baseline's unless named."""
        if self.compared is not None:
            return self.compared
        found = read_reference(self.resolved.get("reference"), Problems())
        return self.baseline.model if found is None else found
