"""How fast is one user served, and what would chips without a datasheet do?

Published speeds and archetypes -> the last sections of benchmarks/results/silicon.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from scipy.optimize import brentq

import codesign as cd
from codesign.cost.evaluate import evaluate
from codesign.cost.latency import TimeBill
from codesign.cost.record import Cost
from codesign.report.texts import number


@dataclass(frozen=True)
class User:
    """A published speed of one user, and the deployment taken for it."""

    chip: str
    model: str
    num_chips: int
    tensor: int
    stages: int
    bits: int
    published: float
    fitted: bool


USERS = (
    User("groqchip1", "llama-3-8b", 64, 8, 8, 8, 751.0, fitted=True),
    User("groqchip1", "llama-3-70b", 576, 8, 72, 8, 250.0, fitted=False),
    User("groqchip1", "llama-2-70b", 576, 8, 72, 8, 300.0, fitted=False),
    User("wse-3", "llama-3-8b", 1, 1, 1, 16, 1837.0, fitted=True),
    User("wse-3", "llama-3-70b", 4, 1, 4, 16, 446.0, fitted=False),
    User("sn40l", "llama-3-8b", 16, 16, 1, 16, 1042.0, fitted=True),
    User("sn40l", "llama-3-70b", 16, 16, 1, 16, 457.0, fitted=False),
    User("sn40l", "llama-3.1-405b", 16, 16, 1, 16, 129.0, fitted=False),
)
"""Tokens per second of one user (accelerators_measured.csv of the project's data);
numbers of chips of the 8B rows and the split into stages are assumed."""

SHARES: Mapping[str, tuple[str, ...]] = {
    "bandwidth": ("memory",),
    "compute": ("compute", "vector"),
    "hops": ("link",),
    "synchronisation": ("launch", "host", "eager"),
}
"""Parts of a step behind each share; the latency per layer is synchronisation."""

DRAFTS = {
    "llama-3-70b": ("a 1B draft at 2400 token/s", 2400.0),
    "llama-3.1-405b": ("an 8B draft at 1042 token/s", 1042.0),
}
"""Drafts of the same family and their own published speed; of the 1B model the number
of sockets is not stated."""

LONGEST_DRAFT = 16  # tokens
VENDOR_SHARE = 0.75
"""Of the peak that token generation on 8 and 16 SN40L reaches, the vendor's own figure
(talk at the Design Automation Conference 2025)."""


def user_cost(user: User) -> Cost:
    """Cost of the deployment with one user."""
    design = cd.build_design(
        chip=user.chip,
        model=user.model,
        num_chips=user.num_chips,
        tensor_parallel=user.tensor,
        pipeline_parallel=user.stages,
        batch=1,
        prompt_length=100,
        output_length=300,
        overrides=[f"model.weight_bits={user.bits}"],
    )
    return evaluate(design)


def user_time(user: User) -> float:
    """Seconds per token of one user, without steps that carry a prompt."""
    return _total(user_cost(user).breakdown.decode_seconds)


def user_shares(user: User) -> dict[str, float]:
    """Shares of the time per token that each kind of wait takes."""
    bill = user_cost(user).breakdown.decode_seconds
    whole = _total(bill)
    return {
        share: sum(float(getattr(bill, part)) for part in parts) / whole
        for share, parts in SHARES.items()
    }


def reads_per_second(user: User) -> float:
    """How often all DRAM of the chips delivers the weights, at the full bandwidth."""
    cost = user_cost(user)
    bandwidth = user.num_chips * float(cost.chip.dram_bandwidth)
    return bandwidth / (user.num_chips * float(cost.memory.weight_bytes))


def _total(bill: TimeBill) -> float:
    return sum(float(getattr(bill, name)) for name in type(bill).__dataclass_fields__)


def user_page() -> list[str]:
    """Published speeds, the model's, where the time goes, and the verdict on SN40L."""
    heads = ("chip", "model", "chips", "token/s", "model's", "error of time", "")
    columns = (*heads, *SHARES)
    lines = [
        "## Speed of one user",
        "",
        "One latency per layer and stack, fitted on the 8B row. The last columns are "
        "the model's shares of the time.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
    ]
    for user in USERS:
        time = user_time(user)
        cells = (
            user.chip,
            user.model,
            str(user.num_chips),
            f"{user.published:.0f}",
            f"{1 / time:.0f}",
            f"{time * user.published - 1:+.0%}",
            "fitted" if user.fitted else "predicted",
            *(f"{share:.0%}" for share in user_shares(user).values()),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, "", *_verdict()]


def needed_acceptance(speed: float, *, verify: float, draft: float) -> float:
    """Least share of accepted draft tokens that reaches a speed, over draft lengths k.

    (1 - a^(k + 1)) / (1 - a) = speed (t_verify + k t_draft);  1 if no k suffices.

    Source: Leviathan et al., "Fast inference from transformers via speculative
    decoding", ICML 2023; tokens are accepted independently.
    """
    found = [1.0]
    for k in range(1, LONGEST_DRAFT + 1):
        wanted = speed * (verify + k * draft)
        if wanted < k + 1:
            share = brentq(lambda a, k=k, w=wanted: _accepted(a, k) - w, 0.0, 1 - 1e-9)
            found.append(float(share))
    return min(found)


def _accepted(share: float, length: int) -> float:
    return (1 - share ** (length + 1)) / (1 - share)


def _verdict() -> list[str]:
    small, *large = [user for user in USERS if user.chip == "sn40l"]
    lines = []
    for user in (small, *large):
        most = reads_per_second(user)
        read = user.num_chips * 1.6e3 / most
        least = user.published / most
        real = least / VENDOR_SHARE
        cells = (
            user.model,
            f"{read:.0f} GB",
            f"{most:.0f}",
            f"{VENDOR_SHARE * most:.0f}",
            f"{user.published:.0f}",
            f"{least:.1f} to {real:.1f}",
            f"{user.num_chips * least:.0f} to {user.num_chips * real:.0f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    speeds = ", ".join(f"{1 / user_time(u):.0f}" for u in large)
    without = ", ".join(f"{VENDOR_SHARE * reads_per_second(u):.0f}" for u in large)
    shares = [_acceptance_words(u) for u in large]
    return f"""\
### SN40L at 70B and 405B

The published speeds are not those of one read of the weights per token, and the model,
which reads them once, cannot meet them. Sixteen sockets have 25.6 TB/s of HBM (the
vendor's Hot Chips 2024 deck); the figures are stated as 16-bit, without quantisation.

| model | read | reads/s, full bandwidth | at {VENDOR_SHARE:.0%} | published | \
tokens per read | sockets for one token per read |
|---|---|---|---|---|---|---|
{chr(10).join(lines)}

First figures at the full bandwidth, second ones at the {VENDOR_SHARE:.0%} of peak that
the vendor reports for token generation. What could close the gap:

- *Speculative decoding.* It fits all three rows: none is needed at 8B, and the tokens
  per read grow with the model, as they do where a draft of fixed size becomes cheaper
  beside it. Needed at 70B: {shares[0]}; at 405B:
  {shares[1]}. That is within what drafts of one
  family reach (recalled; the vendor publishes no figure).
- *More sockets.* Contradicts the rack of 16 that the same page names.
- *Fewer bits.* At 8 bit the weights would still be read 1.3 and 2 times too slowly, and
  the page says 16.
- *SRAM.* 8.3 GB over 16 sockets hold 6 % and 1 % of the weights.

Verdict: speculative decoding. The model's {speeds} token/s are what the vendor's share
of the peak gives without it ({without}). The bound of 30 % on these two rows **is not
met, and cannot be** at one token per read; nothing was tuned to them.""".splitlines()


def _acceptance_words(user: User) -> str:
    """Range of accepted shares between full bandwidth and the vendor's share of it."""
    name, draft = DRAFTS[user.model]
    verify = 1 / reads_per_second(user)
    ends = [
        needed_acceptance(user.published, verify=verify / share, draft=1 / draft)
        for share in (1.0, VENDOR_SHARE)
    ]
    return f"{ends[0]:.0%} to {ends[1]:.0%} of the tokens of {name}"


@dataclass(frozen=True)
class Archetype:
    """A deployment of a chip without a datasheet on a model that it holds."""

    chip: str
    model: str
    num_chips: int
    batch: int
    formats: Mapping[str, float]


FOUR_BIT = {"weight_bits": 4, "activation_bits": 8, "head_bits": 8, "kv_bits": 8}
EIGHT_BIT = {"weight_bits": 8, "activation_bits": 8, "kv_bits": 8}
ARCHETYPES = (
    Archetype("analog-in-memory", "llama-3-8b", 8, 1, FOUR_BIT),
    Archetype("analog-in-memory", "llama-3-8b", 8, 16, FOUR_BIT),
    Archetype("weights-in-rom", "llama-3-8b", 2, 1, FOUR_BIT),
    Archetype("weights-in-rom", "llama-3-8b", 2, 16, FOUR_BIT),
    Archetype("dram-on-logic", "llama-3-8b", 1, 1, EIGHT_BIT),
    Archetype("dram-on-logic", "llama-3-8b", 1, 16, EIGHT_BIT),
    Archetype("inhouse-asic", "llama-3-8b", 1, 16, EIGHT_BIT),
    Archetype("inhouse-asic", "llama-3-70b", 4, 64, EIGHT_BIT),
    Archetype("h100-sxm", "llama-3-8b", 1, 16, EIGHT_BIT),
)
"""With an H100 for scale."""


def archetype_cost(row: Archetype, *, stack: str) -> Cost:
    """Cost of an archetype under a serving stack."""
    design = cd.build_design(
        chip=row.chip,
        model=row.model,
        num_chips=row.num_chips,
        batch=row.batch,
        prompt_length=512,
        output_length=256,
        stack=stack,
        overrides=[f"model.{name}={bits}" for name, bits in row.formats.items()],
    )
    return evaluate(design)


def archetype_page() -> list[str]:
    """Speed, energy, area and money of chips without a datasheet."""
    lines = [
        "## Archetypes without a datasheet",
        "",
        "Every value of these chips is assumed: the table shows that the equations "
        "hold for them, not what such a chip would do. 512 prompt and 256 output "
        "tokens, the same `ideal` stack for all, so that only silicon differs; an H100 "
        "at its published price for scale. Held against what exists: "
        "[stores](../../docs/theory/stores.md).",
        "",
        "| chip | model | chips | batch | mm² per chip | USD per chip | "
        "token/s of a user | J/token | of it static | USD/Mtoken |",
        "|" + "---|" * 10,
    ]
    for row in ARCHETYPES:
        cost = archetype_cost(row, stack="ideal")
        energy = float(cost.energy_per_token)
        cells = (
            row.chip,
            row.model,
            str(row.num_chips),
            str(row.batch),
            number(float(cost.chip.area) * 1e6),
            number(float(cost.chip.price)),
            number(1 / float(cost.time_per_output_token)),
            number(energy),
            f"{float(cost.breakdown.energy.static) / energy:.0%}",
            number(float(cost.usd_per_token) * 1e6),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines
