"""Do measured ratios confirm an elasticity? Natural experiments of public runs.

Path of a parameter -> how far predicted ratios are from measured ones where runs differ
in that parameter alone.
"""

from dataclasses import dataclass

from codesign.report.texts import NONE, percent


@dataclass(frozen=True)
class Confirmed:
    """Pairs of runs that differ in one thing, named as in the scorecard.

    ``error`` is the median of |ln(predicted ratio / measured ratio)|.
    """

    change: str
    metric: str
    pairs: int
    error: float


CONFIRMED = {
    "chip.dram.bandwidth": Confirmed("chip H100 to H200", "ITL", 45, 0.025),
    "deployment.batch": Confirmed("batch doubled, H100", "J/token", 228, 0.036),
    "deployment.tensor_parallel": Confirmed(
        "tensor parallelism doubled, H100", "J/token", 22, 0.056
    ),
    "model.weight_bits": Confirmed("weights 8 to 4.5 bit", "ITL", 232, 0.110),
}
"""From docs/scorecard.md, a model's runs by a fit without them. Other parameters were
not changed by themselves in any public run."""
COLUMN = "error of the measured ratio"
NOTE = (
    "Error of the measured ratio: median over pairs of public runs that differ in that "
    "parameter alone; a dash where no such runs exist."
)


def ratio_error(path: str) -> str:
    """The error of measured ratios in a parameter, as text.

    Example:
        >>> ratio_error("chip.dram.bandwidth"), ratio_error("chip.tdp")
        ('2.5 % (chip H100 to H200, ITL)', '–')
    """
    found = CONFIRMED.get(path)
    if found is None:
        return NONE
    return f"{percent(found.error)} ({found.change}, {found.metric})"
