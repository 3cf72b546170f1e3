"""Write experiments/README.md: every claim with its verdict, a line and a picture.

    python experiments/gallery.py

Numbers and verdicts are those that the last runs wrote to ``numbers.json``.
"""

import json
import re
from pathlib import Path

from experiments.common.page import joined
from experiments.common.verdict import SURE

HERE = Path(__file__).resolve().parent
CLAIMS = {
    1: "Co-design beats designing hardware and model in isolation.",
    2: "Prefill is compute-bound, decode memory-bound.",
    3: "The cost of a GPU's token rises exponentially with speed.",
    4: "Hopper to Blackwell: size and power, not efficiency.",
    5: "Groq: 500 tokens/s on 70B, five times an equally priced GPU.",
    6: "Cerebras: latency below any GPU cluster for models that fit.",
    7: "Quantisation helps down to INT4; the memory wall stays.",
    8: "A trillion weights: inter-chip bandwidth decides.",
    9: "NVLink is overkill for inference, training needs it.",
    10: "A hidden size that matches the hardware pays from day one.",
    11: "Experts make today's hardware inefficient.",
    12: "Memory-centric chips can be made at 7 to 14 nm and win.",
    13: "World models need other chips than language models.",
    14: "Data centres will split prefill and decode over two chips.",
    15: "Flexible chips are the better bet.",
    16: "Under a power limit perf/W beats price; free can be too dear.",
    17: "A TPU v4 at 170 W equals an H100.",
    18: "Saving 30 % of power decides viability.",
    19: "Analog substrates could be far more efficient.",
    20: "Burning the model into a chip will be far cheaper.",
    21: "Matrix multiplication may be the wrong primitive.",
    22: "FlashAttention is co-designed with one chip's SRAM.",
    23: "The cost of an answer rises as that of a token falls.",
    24: "Falling inference cost strands capital.",
    25: "Better kernels beat waiting for the next GPU.",
}
SURPRISING = (1, 14, 19, 7)
"""Claims by how much their outcome surprised; the first three that were run tell."""


def found() -> dict[int, tuple[str, dict[str, object]]]:
    """Folder and numbers of every claim that has been run."""
    known: dict[int, tuple[str, dict[str, object]]] = {}
    for path in sorted(HERE.glob("*/numbers.json")):
        numbers = json.loads(path.read_text(encoding="utf-8"))
        for key, entry in numbers.items():
            match = re.fullmatch(r"claim (\d+)", key)
            if match:
                known[int(match[1])] = path.parent.name, entry
    return known


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a sentence."""
    return re.split(r"(?<=[\w)%])\. (?=[A-Z])", text)[0].rstrip(".") + "."


def gist_of(entry: dict[str, object]) -> str:
    """The first sentence behind a verdict."""
    return first_sentence(str(entry["gist"])).replace("|", "/")


def page() -> str:
    """The index: rule of the verdicts, surprises, and one row per claim."""
    known = found()
    lines = [
        "# Experiments",
        """Twenty-five claims of the field on trial. Each folder asks one question:
        `study.yaml`, a `run.py` that regenerates its page, figures and `numbers.json`,
        and a README that opens with the verdict.""",
        f"""A claim is taken apart into statements; each is tested in every draw of the
        constants behind the model. It **holds** where all are true in
        {100 * SURE:.0f} % of the draws, is **wrong** where none is in half of them and
        one is in fewer than {100 * (1 - SURE):.0f} %, **cannot be decided with public
        data** where the draws straddle all of them, and is **half true** otherwise.
        Bands are 5 to 95 %; measured data stand beside them where they are public.""",
        "## What surprised most",
        *surprises(known)[:3],
        "## Gallery",
        "| claim | verdict | what was found | |",
        "|---|---|---|---|",
        *(row(number, known) for number in CLAIMS),
        """`python experiments/gallery.py` writes this page from the last runs;
        `python experiments/NN_question/run.py --small` takes each through in under a
        minute. Measured data are read from `../shared/data` or the folder that
        `CODESIGN_DATA` names; without them pages keep the summaries that lie beside
        them.""",
    ]
    return joined(lines)


def surprises(known: dict[int, tuple[str, dict[str, object]]]) -> list[str]:
    """What surprised, in the numbers of the runs."""
    said = {n: known[n][1].get("surprise") for n in SURPRISING if n in known}
    return [f"- **Claim {n}.** {text}" for n, text in said.items() if text]


def row(number: int, known: dict[int, tuple[str, dict[str, object]]]) -> str:
    """One claim of the gallery."""
    folder, entry = known[number]
    gist = gist_of(entry)
    picture = f"![{folder}]({folder}/thumbnail.svg)"
    return (
        f"| {number}. {CLAIMS[number]} | **{entry['verdict']}** "
        f"| [{gist}]({folder}/README.md) | {picture} |"
    )


if __name__ == "__main__":
    (HERE / "README.md").write_text(page(), encoding="utf-8")
