"""What a notebook shows of a result and of a front."""

import numpy as np

from codesign.optimize.pareto import Front
from codesign.optimize.result import Result
from tests.report.pages import read_page


def test_result_shows_rungs_limits_and_prices(result: Result, long_ladder: Result):
    page = read_page(result._repr_html_())
    (table,) = page.tables
    assert [row[0] for row in table[1:]] == [rung.name for rung in result.rungs]
    assert table[2][2] == "+0.0%"
    assert "J/token" in table[1][1]
    assert result.status in page.text
    assert "time_per_output_token <= 30 ms (0.37)" in page.text
    assert len(str(result).splitlines()) == len(result.rungs) + 2
    assert "<script>" not in long_ladder._repr_html_()


def test_front_shows_its_designs(result: Result):
    metrics = ("energy_per_token_server", "time_per_output_token")
    values = np.array(
        [[float(getattr(rung.cost, name)) for name in metrics] for rung in result.rungs]
    )
    front = Front(
        study=result.study,
        metrics=metrics,
        rungs=result.rungs,
        values=values,
        tuned=result.baseline,
        hypervolume=0.5,
    )
    page = read_page(front._repr_html_())
    assert len(page.tables[0]) == len(result.rungs) + 1
    assert "hypervolume 0.5" in page.text
    assert "ms/token" in str(front)
