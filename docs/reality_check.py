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
`codesign validate --rows R.csv --models M.csv` prints the error of the model against
measured serving runs. Chip energy per output token, prefill included; prompt lengths
of the runs are not published and were inferred; nothing is fitted to these rows by
the command. [What the columns mean](docs/theory/validation.md).
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
