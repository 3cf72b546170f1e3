"""What does an answer cost, and how good is the model that gives it?

Design, reference model, quality constants -> cost and quality in one record.
"""

from codesign.core.quantities import Joules, Usd
from codesign.core.record import Record
from codesign.core.smooth import Sharpness
from codesign.cost.record import Cost
from codesign.cost.total import cost
from codesign.model.transformer import Transformer
from codesign.quality.constants import QualityConstants
from codesign.quality.evaluate import Quality, quality
from codesign.serving.design import Design


class Outcome(Record):
    """Cost and quality of a design; a metric's name is its path in here.

    Cost metrics go without their prefix: ``energy_per_token``, ``chip.area``,
    ``quality.gap``.
    """

    cost: Cost
    quality: Quality


def outcome(
    design: Design,
    *,
    reference: Transformer,
    constants: QualityConstants,
    sharpness: Sharpness = None,
) -> Outcome:
    """Cost at the batch and voltages that the design holds, and its quality."""
    return Outcome(
        cost=cost(design, sharpness=sharpness),
        quality=quality(design.model, reference=reference, constants=constants),
    )


class Answer(Record):
    """What one answer of the mean output length costs at the server's plug."""

    energy: Joules
    price: Usd


def answer(design: Design, found: Cost) -> Answer:
    """Energy and price of one answer, per-token figures times output length.

    E_answer = L E_token;  prefill is part of the energy per output token.

    Assumes: one sample per answer.
    """
    length = design.request.output_length
    return Answer(
        energy=found.energy_per_token_server * length,
        price=found.usd_per_token * length,
    )
