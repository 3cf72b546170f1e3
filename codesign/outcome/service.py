"""What do users get for the joules: a byte of text, an answer, a life of the model?

Design with its cost and the score of its model -> cost per byte, answer and life.
"""

from codesign.core.quantities import (
    BytesPerToken,
    Fraction,
    Joules,
    JoulesPerByte,
    SecondsPerByte,
    Tokens,
    Usd,
    UsdPerByte,
)
from codesign.core.record import Record
from codesign.cost.record import Cost
from codesign.outcome.lifetime import inference_energy, training_energy
from codesign.outcome.text import costs_per_byte, tokens_per_byte
from codesign.outcome.thinking import accuracy, thinker
from codesign.quality.constants import QualityConstants
from codesign.serving.design import Design


class Service(Record):
    """Metrics beyond the token; at the server's plug unless the name says more.

    Per byte of text, where names are those of ``Cost`` with ``byte`` for
    ``token``; per answer of the mean output length, prompt included, with its
    ``accuracy``; over the life of the model (``lifetime_tokens`` of the request).
    """

    bytes_per_token: BytesPerToken
    energy_per_byte: JoulesPerByte
    energy_per_byte_server: JoulesPerByte
    energy_per_byte_facility: JoulesPerByte
    usd_per_byte: UsdPerByte
    time_per_byte: SecondsPerByte
    tokens_per_answer: Tokens
    energy_per_answer: Joules
    usd_per_answer: Usd
    accuracy: Fraction
    training_energy: Joules
    inference_energy: Joules
    lifetime_energy: Joules


def service(
    design: Design, found: Cost, *, score: Fraction, constants: QualityConstants
) -> Service:
    """Cost per byte, answer and life of a design.

    E_answer = L E_token;  prefill is part of the energy per output token.

    ``score`` is the benchmark score of the model without thought.

    Assumes: one sample per answer.
    """
    length, model = design.request.output_length, design.model
    trained, used = training_energy(design), inference_energy(design, found)
    return Service(
        bytes_per_token=1.0 / tokens_per_byte(model.vocab_size, constants.text),
        **costs_per_byte(found, model, constants=constants.text),
        tokens_per_answer=length,
        energy_per_answer=found.energy_per_token_server * length,
        usd_per_answer=found.usd_per_token * length,
        accuracy=accuracy(thinker(score, constants.thinking), length),
        training_energy=trained,
        inference_energy=used,
        lifetime_energy=trained + used,
    )
