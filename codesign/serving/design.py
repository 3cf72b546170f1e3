"""What is a design? Chip, system, model and deployment under one request."""

from codesign.core.paths import set_path
from codesign.core.quantities import Scalar
from codesign.core.record import Record
from codesign.hardware.chip import Chip, System
from codesign.model.transformer import Transformer
from codesign.serving.deployment import Deployment
from codesign.serving.request import Request
from codesign.serving.stack import Stack
from codesign.technology.constants import Technology


class Design(Record):
    """One point of the joint space; every metric is a function of it.

    A parameter's name everywhere is its attribute path here, such as
    ``chip.dram.bandwidth`` or ``model.hidden_size``. ``draft`` is a small model
    that guesses tokens for ``model``; None decodes without guesses.
    """

    chip: Chip
    system: System
    model: Transformer
    deployment: Deployment
    request: Request
    stack: Stack
    technology: Technology
    draft: Transformer | None = None


def set_parameter(design: Design, path: str, *, value: Scalar) -> Design:
    """The design with one parameter changed, by dotted path.

    A new ``model.num_layers`` keeps the shares of windowed, recurrent and FFN
    layers: their counts grow in proportion.
    """
    if path != "model.num_layers":
        return set_path(design, path, value=value)
    model = design.model
    growth = value / model.num_layers
    recurrent = model.recurrent
    model = model.replace(
        num_layers=value,
        num_ffn_layers=growth * model.num_ffn_layers,
        num_window_layers=growth * model.num_window_layers,
        recurrent=recurrent.replace(num_layers=growth * recurrent.num_layers),
    )
    return design.replace(model=model)
