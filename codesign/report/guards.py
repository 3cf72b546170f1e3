"""What does each guard against gaming the quality law cost at the optimum?

``Result`` -> a table of all guards: hard ends of the evidence with their shadow
price, and prices inside the law with what they add to the gap.
"""

import math

import numpy as np

from codesign.optimize.problem import ANSWERS
from codesign.optimize.result import Result
from codesign.quality.validity import TOLERANCE
from codesign.report.confidence import TERMS, drawn_terms, quality_price
from codesign.report.tables import Table
from codesign.report.texts import number, percent

ENDS = {
    "sparsity": ("experts per active one", "endless experts"),
    "active_experts": ("active experts", "more active experts than there are"),
    "granularity_low": ("width of an expert", "a few huge experts"),
    "granularity_high": ("width of an expert, least", "tiny experts"),
    "aspect_low": ("width over depth, least", "a thousand narrow layers"),
    "aspect_high": ("width over depth", "one wide layer"),
    "layers_low": ("layers, least", "one layer"),
    "layers_high": ("layers", "a thousand layers"),
    "active_parameters_low": ("active parameters, least", "a model too small to judge"),
    "active_parameters_high": ("active parameters", "a model beyond all evidence"),
    "vocabulary_low": ("vocabulary, least", "cheap tokens that hold little text"),
    "vocabulary_high": ("vocabulary", "parameters hidden in a vocabulary"),
    "kv_heads": ("KV heads", "more KV heads than heads"),
    "weight_bits": ("weight bits, least", "one-bit weights"),
    "head_bits": ("bits of the output matrix, least", "one-bit weights"),
    "activation_bits": ("activation bits, least", "one-bit activations"),
    "kv_bits": ("KV bits, least", "no KV cache"),
    "weight_density": ("weights that are kept, least", "a model of zeros"),
    "activation_density": ("activations that are kept, least", "a model of zeros"),
    "attention_share": ("layers with whole attention, least", "no attention"),
    "window": ("window, least", "no attention beyond a few tokens"),
    "tokens_low": ("training tokens, least", "a large model hardly trained"),
    "tokens_high": ("training tokens", "a small model trained without end"),
}
"""Words for each end of the evidence, and the exploit that it keeps out."""

PRICED = {
    "sparsity": "endless experts",
    "granularity": "tiny or huge experts",
    "aspect": "one wide layer, a thousand narrow ones",
    "depth": "one layer",
    "ffn_share": "no attention, no FFN",
    "density": "a model of zeros",
    "kv_share": "a single KV head",
    "hybrid": "no attention",
    "vocabulary": "a huge or tiny vocabulary",
    "precision_weights": "one-bit weights",
    "precision_activations": "one-bit activations",
    "precision_kv": "no KV cache",
    "sparse_weights": "a model of zeros",
    "sparse_activations": "a model of zeros",
}
"""Terms of the law that charge for an exploit instead of forbidding it."""

NO_WINDOWS = -1.0
FREE, OFF = "nothing", "switched off"
LEAST_PRICE = 1e-4  # d ln objective / d ln limit below which a limit costs nothing


def guards_table(result: Result) -> Table:
    """Every guard, the exploit it keeps out, its use and its cost."""
    return Table(
        title="What the guards cost",
        columns=("guard", "keeps out", "at the best design", "cost"),
        rows=(*_end_rows(result), *_priced_rows(result), *_answer_rows(result)),
        note="Ends of the evidence cost what 1 % more room would bring to the "
        "objective; prices inside the law what their part of the gap costs at the "
        "shadow price of the limit on quality, against the reference, to first order. "
        "Negative: the reference pays more.",
    )


def _end_rows(result: Result) -> list[tuple[str, ...]]:
    evidence = result.evidence
    prices = {b.name: b.price for b in evidence.binding} if evidence else {}
    values, off = result.best.quality.validity, result.study.off
    rows: list[tuple[str, ...]] = []
    for name, (title, exploit) in ENDS.items():
        log_use = float(getattr(values, name))
        price = prices.get(f"quality.validity.{name}", 0.0)
        cost = OFF if name in off else _end_cost(price)
        rows.append((title, exploit, _use(name, log_use), cost))
    return rows


def _use(name: str, value: float) -> str:
    """How much of a range is used up; see ``Validity`` for the two that differ."""
    if value > TOLERANCE:
        return "beyond the evidence"
    if name == "window" and value == NO_WINDOWS:
        return "no layer has one"
    share = 1.0 / (1.0 - value) if name == "attention_share" else math.exp(value)
    return f"{percent(share)} of the limit"


def _end_cost(price: float) -> str:
    return percent(math.expm1(price * 0.01)) if price > LEAST_PRICE else FREE


def _priced_rows(result: Result) -> list[tuple[str, ...]]:
    price, found = quality_price(result), drawn_terms(result)
    rows: list[tuple[str, ...]] = []
    for name, exploit in PRICED.items():
        part = float(np.mean(getattr(found, name)))
        cost = percent(math.expm1(price * part)) if price else FREE
        rows.append((TERMS[name], exploit, f"{number(part)} in the gap", cost))
    return rows


def _answer_rows(result: Result) -> list[tuple[str, ...]]:
    if not result.study.terms.answers:
        return []
    evidence = result.evidence
    prices = {b.name: b.price for b in evidence.binding} if evidence else {}
    tokens = number(float(result.best.service.tokens_per_answer))
    cost = _end_cost(prices.get(ANSWERS, 0.0))
    title = "tokens of thought"
    return [(title, "endless thought of a tiny model", f"{tokens} tokens", cost)]
