"""What are the designs of a study compared with?

Study -> reference model and the constants of the quality law for both recipes.
"""

from codesign.config.quality import load_quality_constants
from codesign.config.study import Study
from codesign.core.record import as_float64
from codesign.outcome.terms import Yardstick


def build_yardstick(study: Study) -> Yardstick:
    """Reference and constants at their central values.

    The reference has constants of its own only where its recipe differs.
    """
    ours, theirs = study.recipe, study.reference_recipe
    return Yardstick(
        reference=as_float64(study.reference),
        constants=as_float64(load_quality_constants(recipe=ours)),
        reference_constants=None
        if theirs == ours
        else as_float64(load_quality_constants(recipe=theirs)),
    )
