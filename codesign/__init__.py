"""What does LLM inference cost, and which chip, model and deployment cost least?

The public index: a name is imported when it is first used, so that importing
``codesign`` loads neither JAX nor any folder of the package.
"""

import difflib
import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codesign import quality as quality
    from codesign.config.chips import load_chip as load_chip
    from codesign.config.design import build_design as build_design
    from codesign.config.models import load_model as load_model
    from codesign.config.stacks import load_stack as load_stack
    from codesign.config.study import load_study as load_study
    from codesign.config.technology import load_technology as load_technology
    from codesign.core.checks import enable_x64 as enable_x64
    from codesign.cost.evaluate import evaluate as evaluate
    from codesign.cost.record import Cost as Cost
    from codesign.optimize import Result as Result
    from codesign.optimize import optimize as optimize
    from codesign.optimize.implicit import DesignSensitivity as DesignSensitivity
    from codesign.optimize.implicit import design_sensitivity as design_sensitivity
    from codesign.optimize.pareto import Front as Front
    from codesign.optimize.pareto import pareto as pareto
    from codesign.optimize.scenarios import Scenarios as Scenarios
    from codesign.optimize.scenarios import scenarios as scenarios
    from codesign.optimize.sensitivity import elasticities as elasticities
    from codesign.optimize.split import Split as Split
    from codesign.optimize.split import split as split
    from codesign.serving.design import Design as Design
    from codesign.study.compare import compare as compare
    from codesign.study.robust import Robust as Robust
    from codesign.study.robust import robust as robust
    from codesign.study.service import service as service
    from codesign.study.sweep import sweep as sweep
    from codesign.study.table import Table as Table
    from codesign.study.uncertainty import uncertainty as uncertainty

__version__ = "0.1.0"

_HOMES = {
    "Cost": "codesign.cost.record",
    "Design": "codesign.serving.design",
    "DesignSensitivity": "codesign.optimize.implicit",
    "Front": "codesign.optimize.pareto",
    "Result": "codesign.optimize",
    "Robust": "codesign.study.robust",
    "Scenarios": "codesign.optimize.scenarios",
    "Split": "codesign.optimize.split",
    "Table": "codesign.study.table",
    "build_design": "codesign.config.design",
    "compare": "codesign.study.compare",
    "design_sensitivity": "codesign.optimize.implicit",
    "elasticities": "codesign.optimize.sensitivity",
    "enable_x64": "codesign.core.checks",
    "evaluate": "codesign.cost.evaluate",
    "load_chip": "codesign.config.chips",
    "load_model": "codesign.config.models",
    "load_stack": "codesign.config.stacks",
    "load_study": "codesign.config.study",
    "load_technology": "codesign.config.technology",
    "pareto": "codesign.optimize.pareto",
    "robust": "codesign.study.robust",
    "scenarios": "codesign.optimize.scenarios",
    "service": "codesign.study.service",
    "split": "codesign.optimize.split",
    "sweep": "codesign.study.sweep",
    "uncertainty": "codesign.study.uncertainty",
}
_FOLDERS = {"optimize", "quality"}

__all__ = [
    "Cost",
    "Design",
    "DesignSensitivity",
    "Front",
    "Result",
    "Robust",
    "Scenarios",
    "Split",
    "Table",
    "build_design",
    "compare",
    "design_sensitivity",
    "elasticities",
    "enable_x64",
    "evaluate",
    "load_chip",
    "load_model",
    "load_stack",
    "load_study",
    "load_technology",
    "optimize",
    "pareto",
    "quality",
    "robust",
    "scenarios",
    "service",
    "split",
    "sweep",
    "uncertainty",
]


def __getattr__(name: str) -> Any:
    if name in _FOLDERS:
        return importlib.import_module(f"codesign.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    msg = f"module 'codesign' has no attribute {name!r}"
    close = difflib.get_close_matches(name, __all__, n=1)
    raise AttributeError(f"{msg}. Did you mean {close[0]!r}?" if close else msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Optimize(ModuleType):
    """The folder ``optimize``, which is called like the function it is named for."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run ``codesign.optimize.optimize``."""
        return self.optimize(*args, **kwargs)


class _Index(ModuleType):
    """The root, in which ``optimize`` is a function and a folder at once.

    Python binds a folder to its parent when anything inside is imported; from
    then on ``codesign.optimize`` is the folder, whoever imported it first.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "optimize" and isinstance(value, ModuleType):
            value.__class__ = _Optimize
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Index
