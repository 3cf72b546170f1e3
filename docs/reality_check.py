"""Fill the README's section on measured serving runs.

    python docs/reality_check.py ROWS.csv MODELS.csv [SOURCE]

Predicts every measured row and writes the tables between the two marks of
``README.md``; ``SOURCE`` keeps the rows of one source.
"""

import sys
from pathlib import Path

from codesign.calibrate.validate import reality_check_markdown, validate
from codesign.core.checks import enable_x64

BEGIN, END = "<!-- reality-check:begin -->", "<!-- reality-check:end -->"
README = Path(__file__).resolve().parents[1] / "README.md"
INTRODUCTION = """\
`codesign validate --rows R.csv --models M.csv` holds the model against measured
serving runs. Energy is that of the chips per output token, prefill included. The
errors are not those of unseen runs: some constants of the stacks and of the chips'
power were fitted to the same public runs (their `source` says which). Of each chip
and model stands, in turn, the run of smallest, middle and largest batch. More in
[docs/theory/validation.md](docs/theory/validation.md).
"""


def filled(text: str, section: str) -> str:
    """The text with the section between its marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{section}\n{END}{after}"


def main() -> None:
    """Read the arguments, predict, write."""
    rows, models, *source = sys.argv[1:]
    enable_x64()
    report = validate(rows, models)
    tables = reality_check_markdown(report, source=source[0] if source else "")
    text = README.read_text(encoding="utf-8")
    section = f"{INTRODUCTION}\n{tables}"
    README.write_text(filled(text, section), encoding="utf-8")


if __name__ == "__main__":
    main()
