"""What does a model cost over its life, training included?

Model, cost per token and demand -> joules of training and of inference.
"""

from typing import Annotated

from codesign.core.quantities import Joules, Scalar, Tokens, Unit
from codesign.core.record import Record
from codesign.cost.record import Cost
from codesign.model.transformer import Transformer
from codesign.quality.capacity import law_size

JoulesPerFlop = Annotated[Scalar, Unit("J/FLOP")]


class Lifetime(Record):
    """Energy of one model from its first training step to its last token."""

    training: Joules
    inference: Joules

    @property
    def total(self) -> Joules:
        """Training and inference."""
        return self.training + self.inference


def lifetime_energy(
    model: Transformer,
    found: Cost,
    *,
    energy_per_training_flop: JoulesPerFlop,
    demand: Tokens,
) -> Lifetime:
    """Energy of training once and answering ever after.

    E = 6 N_act D e_train + E_token D_inf, E_token at the server's plug

    Assumes: one training run, no failed ones; ``energy_per_training_flop`` is
    that of the training fleet, idle time and cooling of servers included.
    Source: the objective of Sardana et al., arXiv 2401.00448, in joules.
    """
    compute = 6.0 * law_size(model).active * model.training_tokens
    return Lifetime(
        training=compute * energy_per_training_flop,
        inference=found.energy_per_token_server * demand,
    )
