"""Does a draft model guess tokens, how many, and how well?

Design as given -> the design with the number of guesses and their acceptance
filled in from the quality law; faults of the pair.
"""

from collections.abc import Callable

import jax.numpy as jnp

from codesign.config.quality import load_quality_constants
from codesign.config.yaml import Problems
from codesign.outcome.speculative import acceptance
from codesign.serving.design import Design

GUESSES = 4.0
"""Usual number of drafted tokens, vLLM and TensorRT-LLM examples use 3 to 5."""


def with_draft(
    design: Design, problems: Problems, *, place: Callable[[str], str]
) -> Design:
    """The design with guesses and acceptance of its draft model, if it has one."""
    deployment = design.deployment
    if design.draft is None:
        for name in ("draft_tokens", "acceptance"):
            if float(getattr(deployment, name)) > 0:
                message = "needs a model that guesses; give draft, such as llama-3-8b."
                problems.add(place(name), message)
        return design
    if not float(deployment.draft_tokens) > 0:
        deployment = deployment.replace(draft_tokens=jnp.asarray(GUESSES))
    for message in _misfits(design):
        problems.add(place("draft"), message)
    if not float(deployment.acceptance) > 0 and not _unknown(design):
        chance = acceptance(
            design.model, design.draft, constants=load_quality_constants()
        )
        deployment = deployment.replace(acceptance=chance)
    return design.replace(deployment=deployment)


def _misfits(design: Design) -> list[str]:
    model, draft = design.model, design.draft
    if draft is None:
        return []
    found: list[str] = []
    words, own = int(model.vocab_size), int(draft.vocab_size)
    if words != own:
        found.append(f"its vocabulary has {own} entries, the model's {words}.")
    tensor, heads = int(design.deployment.tensor_parallel), int(draft.num_heads)
    if heads % tensor:
        found.append(f"tensor_parallel {tensor} does not divide its {heads} heads.")
    if int(design.deployment.pipeline_parallel) > int(draft.num_layers):
        found.append(f"it has fewer layers, {int(draft.num_layers)}, than stages.")
    if not float(design.deployment.acceptance) > 0 and _unknown(design):
        found.append(
            "training tokens of a model are unknown, on which acceptance rests; give "
            "acceptance, such as 0.75."
        )
    return found


def _unknown(design: Design) -> bool:
    models = [m for m in (design.model, design.draft) if m is not None]
    return any(not float(model.training_tokens) > 0 for model in models)
