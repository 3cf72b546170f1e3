"""What does a model cost over its life, training included?

Design, cost per token and demand -> joules of training and of inference.
"""

from codesign.core.quantities import Joules
from codesign.cost.record import Cost
from codesign.quality.capacity import law_size
from codesign.serving.design import Design


def training_energy(design: Design) -> Joules:
    """Energy of training the model once, E = 6 N_act D e_train.

    e_train is the data centre's ``training_energy``, at the server's plug.

    Assumes: one run, no failed ones, in 16 bit; attention adds no compute to
    6 N D.
    Source: C = 6 N D, Hoffmann et al., arXiv 2203.15556; e_train in
    configs/technology/datacenter.yaml.
    """
    model = design.model
    compute = 6.0 * law_size(model).active * model.training_tokens
    return compute * design.technology.datacenter.training_energy


def inference_energy(design: Design, found: Cost) -> Joules:
    """Energy of all tokens that the model will ever write, E = E_token D_inf.

    At the server's plug, prefill included. Together with ``training_energy`` it
    is the objective of Sardana et al., in joules instead of FLOP.

    Source: Sardana et al., arXiv 2401.00448.
    """
    return found.energy_per_token_server * design.request.lifetime_tokens
