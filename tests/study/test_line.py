import pytest

from codesign.core.errors import BoundsError, InputError, UnitError, UnknownKeyError
from codesign.cost.evaluate import evaluate
from codesign.serving.design import Design
from codesign.study.line import (
    line_rows,
    read_values,
    spaced_values,
    sweep_line,
    violated_limits,
)
from tests.study import jobs


@pytest.fixture(scope="module")
def design() -> Design:
    return jobs.design()


def test_line_is_evaluate_at_each_value(design: Design):
    found = sweep_line(design, "deployment.batch", values=[16.0, 64.0])
    expected = evaluate(design)
    assert float(found.costs[1].power) == pytest.approx(float(expected.power))
    assert [float(cost.batch) for cost in found.costs] == [16.0, 64.0]


def test_layers_keep_their_kinds(design: Design):
    found = sweep_line(design, "model.num_layers", values=[40.0])
    assert float(found.designs[0].model.num_ffn_layers) == 40.0


def test_impossible_value_is_named(design: Design):
    with pytest.raises(InputError, match=r"At deployment\.tensor_parallel = 3"):
        sweep_line(design, "deployment.tensor_parallel", values=[1.0, 3.0])
    with pytest.raises(UnknownKeyError, match=r"chip\.tdp"):
        sweep_line(design, "chip.tpd", values=[1.0])
    with pytest.raises(InputError, match="table"):
        sweep_line(design, "technology.nodes.node", values=[1.0])


def test_values_carry_units():
    assert read_values(["1 TB/s", "2 TB/s"], path="chip.dram.bandwidth") == [1e12, 2e12]
    with pytest.raises(UnitError, match="needs a unit"):
        read_values(["3"], path="chip.tdp")
    with pytest.raises(BoundsError, match="Swapped"):
        spaced_values("2 W", "1 W", points=3, path="chip.tdp")
    with pytest.raises(BoundsError, match="at least 2"):
        spaced_values("1 W", "2 W", points=1, path="chip.tdp")
    with pytest.raises(BoundsError, match="not positive"):
        spaced_values("0 W", "2 W", points=3, path="chip.tdp", logarithmic=True)


def test_rows_explain_themselves(design: Design):
    rows = line_rows(sweep_line(design, "deployment.batch", values=[64.0, 9000.0]))
    assert rows[0]["deployment.batch"] == 64.0
    assert rows[0]["request.prompt_length [token]"] == 1024.0
    assert rows[0]["power [W]"] > 0
    assert rows[0]["violated"] == ""
    assert rows[1]["violated"] == "memory"


def test_existing_chips_break_no_limit(design: Design):
    assert violated_limits(evaluate(design)) == {}
