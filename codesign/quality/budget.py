"""On how many tokens would a model of this size be trained for the same compute?

Model and reference -> the model with its training tokens changed.
"""

from codesign.model.transformer import Transformer
from codesign.quality.capacity import law_size


def at_equal_compute(model: Transformer, *, reference: Transformer) -> Transformer:
    """The model trained with the reference's compute: D = D_ref N_ref / N.

    C = 6 N_act D, N_act the active parameters as the laws count them.

    Assumes: attention and low precision change no share of the compute of
    training; beyond 0.3 to 3 times the reference's tokens the laws part.
    Source: C = 6 N D, Hoffmann et al., arXiv 2203.15556.
    """
    ratio = law_size(reference).active / law_size(model).active
    return model.replace(training_tokens=reference.training_tokens * ratio)
