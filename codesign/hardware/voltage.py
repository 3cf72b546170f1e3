"""At which clock and energy does a chip run when the governor sets a voltage?

Chip and drive voltage -> clock, dynamic and static factors of that step.
"""

from codesign.core.quantities import Factor, Volts
from codesign.core.record import Record
from codesign.core.smooth import Sharpness, smooth_max, smooth_min
from codesign.hardware.chip import Chip
from codesign.technology.arithmetic import speed


class OperatingPoint(Record):
    """Supply and clock of one kind of step, relative to full operation."""

    voltage: Volts
    clock_factor: Factor
    dynamic_factor: Factor
    static_factor: Factor


def operating_point(
    chip: Chip, drive: Volts, *, sharpness: Sharpness = None
) -> OperatingPoint:
    """Operating point under a drive voltage v.

    V = min(max(v, V_min), V_op);  f / f_op = g(V) / g(V_op) min(1, v / V_min)
    E_dyn ~ (V / V_op)^2,  P_static ~ V / V_op

    Below the minimum voltage a lower drive only lowers the clock.

    Assumes: one supply for the whole chip; memory clocks do not follow it.
    Source: alpha-power law; V_min by style, docs/theory/power.md.
    """
    style = chip.style
    top = smooth_min(drive, chip.voltage, sharpness=sharpness)
    voltage = smooth_max(top, style.min_voltage, sharpness=sharpness)
    ratio = speed(voltage, threshold=style.threshold_voltage) / speed(
        chip.voltage, threshold=style.threshold_voltage
    )
    duty = smooth_min(1.0, top / style.min_voltage, sharpness=sharpness)
    return OperatingPoint(
        voltage=voltage,
        clock_factor=ratio * duty,
        dynamic_factor=(voltage / chip.voltage) ** 2,
        static_factor=voltage / chip.voltage,
    )
