"""How far is the roofline of one operator from single measured kernels?

Tables of measured kernels -> benchmarks/results/kernels.md: errors by kind of
kernel, chip, software and format, as shipped and with rates fitted to other
shapes, and where they lie.

    python benchmarks/kernels.py ../shared/data/kernels_*.csv \
        ../shared/data/operators_llmcompass.csv
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import codesign as cd
from codesign.calibrate.kernel_report import (
    bound_cells,
    kernel_cells,
    validate_kernels,
)

RESULTS = Path(__file__).resolve().parent / "results" / "kernels.md"
PAGE = """\
# Kernels: the roofline of one operator against single measurements

`python benchmarks/kernels.py TABLES.csv ...` (or `codesign validate --kernels`).
{rows} kernels. MAPE / median / bias in percent.

*As shipped*: rates and launch times of the chip and its serving stack, without the
factors and overheads of serving; nothing is fitted to these tables here, though the
efficiencies of the H100 and B200 stacks were read from tables of bf16 products on them.
*Rates fitted*: factors on arithmetic, bytes and fixed time (next three columns), the
share of the shorter of arithmetic and bytes that the longer does not hide, and the time
of one term of the sums that a core forms in turn, from half of the shapes, scored on
the other half, both ways. Power is scored where the operand is larger than twice the
cache; repeats of a smaller one do not draw the power of DRAM.

{groups}

## What binds

Errors as shipped by the part of the time that is largest in the model.

{bounds}
"""


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """Cells as a table, header first."""
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(cells[0]), *lines[1:]])


def main() -> None:
    """Score the tables named on the command line and write the page."""
    cd.enable_x64()
    report = validate_kernels(sys.argv[1:])
    page = PAGE.format(
        rows=len(report.predictions),
        groups=markdown(kernel_cells(report)),
        bounds=markdown(bound_cells(report)),
    )
    RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
