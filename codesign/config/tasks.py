"""How long are the prompts of public benchmarks, where their tables only infer it?

Source, task and kind of a given length -> the prompts that the benchmark sends.
"""

from dataclasses import dataclass

from codesign.core.quantities import Tokens

GUESSED = ("inferred", "from_char_stats")
"""Values of the column ``input_len_kind`` of lengths that nobody counted."""


@dataclass(frozen=True)
class Prompts:
    """Mean length of a task's prompts, and the part that other requests begin with.

    ``shared`` tokens are the history of a conversation, of which every turn is a
    request, one after another: a cache of prefixes holds them, once for all turns.
    """

    length: Tokens
    shared: Tokens = 0.0


TASKS = {
    ("mlenergy-v3", "lm-arena-chat"): Prompts(length=674.0, shared=394.0),
    ("mlenergy-v3", "sourcegraph-fim"): Prompts(length=1374.0),
    ("mlenergy-v3", "gpqa"): Prompts(length=233.0),
}
"""Counted with the tokenizers of the models, templates included (chat 654 to 695, gpqa
212 to 235, by tokenizer); the sums agree with the input tokens that the runs report.
LiYing-98/computational_load_to_power, step3/reports/benchmark_vs_effective_input.json.
Turns as requests: LMArenaHumanPreferenceDataset in mlenergy/benchmark/llm/datasets.py
of ml-energy/benchmark. The 280 new tokens of each are what the table of runs infers
from the time of steps with prompts; fits find 0.98 (H100) and 0.79 times it (B200)."""


def published_prompts(*, source: str, task: str, kind: str) -> Prompts | None:
    """The prompts of a task of which the table has an inferred length.

    Example:
        >>> published_prompts(source="mlenergy-v3", task="gpqa", kind="inferred")
        Prompts(length=233.0, shared=0.0)
    """
    return TASKS.get((source, task)) if kind in GUESSED else None
