"""What does a design cost, how good is its model, and what do users get?

Design, reference model, quality constants -> every metric in one record.
"""

from typing import Protocol

from codesign.core.paths import get_path
from codesign.core.quantities import Scalar
from codesign.core.record import Record
from codesign.core.smooth import Sharpness
from codesign.cost.record import Cost
from codesign.cost.total import cost
from codesign.model.transformer import Transformer
from codesign.outcome.service import Service, service
from codesign.quality.constants import QualityConstants
from codesign.quality.evaluate import Quality, quality
from codesign.serving.design import Design


class Outcome(Record):
    """Cost, quality and service of a design; a metric's name is its path in here.

    Metrics of cost and service go without their prefix: ``energy_per_token``,
    ``chip.area``, ``lifetime_energy``, but ``quality.gap``.
    """

    cost: Cost
    quality: Quality
    service: Service


def outcome(
    design: Design,
    *,
    reference: Transformer,
    constants: QualityConstants,
    reference_constants: QualityConstants | None = None,
    sharpness: Sharpness = None,
) -> Outcome:
    """Cost at the batch and voltages that the design holds, and its quality.

    ``reference_constants`` are those of the reference's recipe where it has one
    of its own.
    """
    scored = quality(
        design.model,
        reference=reference,
        constants=constants,
        reference_constants=reference_constants,
    )
    return complete(
        design, cost(design, sharpness=sharpness), scored=scored, constants=constants
    )


def complete(
    design: Design, found: Cost, *, scored: Quality, constants: QualityConstants
) -> Outcome:
    """The outcome of a design whose cost and quality are known."""
    done = service(design, found, score=scored.mmlu, constants=constants)
    return Outcome(cost=found, quality=scored, service=done)


class Scored(Protocol):
    """Anything with the parts of an ``Outcome``, such as a rung of a search."""

    @property
    def cost(self) -> Cost:
        """Time, energy, power, dollars."""
        ...

    @property
    def quality(self) -> Quality:
        """Gap to the reference."""
        ...

    @property
    def service(self) -> Service:
        """Per byte, answer and life."""
        ...


def metric(found: Scored, path: str) -> Scalar:
    """Value of a metric by name."""
    if path.startswith("quality."):
        return get_path(found, path)
    if path in Service.__dataclass_fields__:
        return getattr(found.service, path)
    return get_path(found.cost, path)
