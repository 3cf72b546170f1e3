"""The waterfall leads from the tuned baseline to the best design."""

import numpy as np
import pytest

from codesign.optimize.result import Result
from codesign.report.waterfall import plot_waterfall, waterfall_table


def test_bars_lead_from_tuned_to_best(result: Result):
    (bar,) = plot_waterfall(result).data
    widths, bases = np.array(bar.x), np.array(bar.base)
    assert list(bar.y[:2]) == [result.baseline.name, "shape"]
    assert bar.y[-1] == result.best.name
    ratio = widths[-1] / widths[0]
    assert ratio == pytest.approx(result.best.objective / result.baseline.objective)
    falling = bases[1:-1]
    np.testing.assert_allclose(falling + widths[1:-1], [widths[0], *falling[:-1]])
    assert falling[-1] == pytest.approx(widths[-1])


def test_numbers_multiply_to_the_gain(result: Result):
    rows = waterfall_table(result.waterfall).rows
    factors = [1 + float(row[2].rstrip(" %").replace("−", "-")) / 100 for row in rows]
    assert rows[-1][0] == "all together"
    assert np.prod(factors[:-1]) == pytest.approx(factors[-1], abs=0.02)
    gain = result.best.objective / result.baseline.objective
    assert factors[-1] == pytest.approx(gain, abs=0.006)
