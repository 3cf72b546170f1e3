"""On which terms is a design compared? Equal compute, equal text, equal answers.

Design as placed -> the design that those terms make of it: training tokens,
lengths of prompts and answers, acceptance of drafted tokens.
"""

from typing import NamedTuple

from jax import Array

from codesign.core.quantities import Tokens
from codesign.model.transformer import Transformer
from codesign.outcome.speculative import with_acceptance
from codesign.outcome.text import same_text
from codesign.outcome.thinking import (
    answer_target,
    model_thinker,
    same_answers,
    shortfall,
)
from codesign.quality.budget import at_equal_compute
from codesign.quality.constants import QualityConstants
from codesign.serving.design import Design


class Terms(NamedTuple):
    """What stays equal while a design changes; nothing does by default.

    ``compute``: models are trained with the reference's compute. ``text``: a
    request is a text, whose tokens follow the vocabulary. ``answers``: outputs
    are as long as the model needs to answer like the reference.
    """

    compute: bool = False
    text: bool = False
    answers: bool = False


class Yardstick(NamedTuple):
    """What designs are compared with: a model, and the constants of the law.

    ``reference_constants`` are those of the reference's recipe where it has one
    of its own.
    """

    reference: Transformer
    constants: QualityConstants
    reference_constants: QualityConstants | None = None


AS_PLACED = Terms()


def comparable(
    design: Design,
    terms: Terms,
    *,
    base: Design,
    reference: Transformer,
    constants: QualityConstants,
    reference_constants: QualityConstants | None = None,
) -> Design:
    """The design on equal terms with its baseline and the reference model.

    A design with the model and the request of the baseline stays what it is, but
    for answers, whose length follows the reference's. Where a draft model guesses
    tokens, its acceptance follows the model.

    Assumes: applied once, to a design whose request is the study's.
    """
    model = design.model
    if terms.compute:
        model = at_equal_compute(model, reference=reference)
        design = design.replace(model=model)
    if terms.answers:
        length = design.request.output_length
        theirs = constants if reference_constants is None else reference_constants
        target = answer_target(reference, length, constants=theirs)
        design = same_answers(design, target, constants=constants)
    if terms.text:
        design = same_text(design, base, constants=constants.text)
    return with_acceptance(design, base, constants=constants)


def answer_shortfall(
    model: Transformer,
    *,
    tokens: Tokens,
    reference: Transformer,
    constants: QualityConstants,
    reference_constants: QualityConstants | None = None,
) -> Array:
    """How far a model stays below the reference's answers of this many tokens.

    ln(q / p(most)) <= 0 where it can answer as well within the cap on thought.
    """
    theirs = constants if reference_constants is None else reference_constants
    target = answer_target(reference, tokens, constants=theirs)
    return shortfall(model_thinker(model, constants), target)
