"""A unit more of a limit: by hand from the multiplier, the limit and the objective."""

from dataclasses import replace

import pytest

from codesign.config.limits import Limit
from codesign.optimize.prices import limit_value, prices_per_unit
from codesign.optimize.result import Binding, Result
from codesign.report.limits import binding_table

TPOT = "time_per_output_token <= 30 ms"
AREA = "chip.area <= baseline"
RATE = "throughput >= 100 token/s"
GAP = "quality.gap <= 0"
POWER = "deployment.power_limit <= 0.8 * chip.tdp"


@pytest.fixture
def priced(result: Result) -> Result:
    assert result.evidence is not None
    limits = (
        *result.study.limits,
        Limit("throughput", ">=", RATE, 100.0),
        Limit("quality.gap", "<=", GAP, 0.0),
        Limit("decode_power", "<=", POWER, factor=0.8, path="chip.tdp"),
    )
    binding = (
        Binding(TPOT, 1e-5, 0.37),
        Binding(AREA, 1e-5, 0.2),
        Binding(RATE, 1e-5, 0.1),
        Binding(GAP, 1e-5, 0.6),
        Binding(POWER, 1e-5, 0.05),
        Binding("limits.memory", 0.0, 0.3),
    )
    return replace(
        result,
        study=replace(result.study, limits=limits),
        evidence=replace(result.evidence, binding=binding),
    )


def test_right_sides_of_limits(priced: Result):
    values = {
        x.text: limit_value(x, design=priced.design, tuned=priced.baseline)
        for x in priced.study.limits
    }
    assert values[TPOT] == 0.03
    assert values[AREA] == pytest.approx(float(priced.baseline.cost.chip.area))
    assert values[POWER] == pytest.approx(0.8 * float(priced.design.chip.tdp))


def test_prices_per_unit_by_hand(priced: Result):
    objective, area = priced.best.objective, float(priced.baseline.cost.chip.area)
    tdp = float(priced.design.chip.tdp)
    assert prices_per_unit(priced) == pytest.approx(
        {
            TPOT: -0.37 * objective / 0.03,
            AREA: -0.2 * objective / area,
            RATE: 0.1 * objective / 100.0,
            GAP: -0.6 * objective,
            POWER: -0.05 * objective / (0.8 * tdp),
        }
    )


def test_the_table_states_them_in_printed_units(priced: Result):
    table = binding_table(priced)
    per_unit = {row[0]: row[-1] for row in table.rows}
    assert per_unit[TPOT].endswith("per ms/token")
    assert per_unit[TPOT].startswith("−")
    assert per_unit[AREA].endswith("per mm²")
    assert per_unit[GAP].endswith("per 0.01")
    assert per_unit["memory"] == "–"


def test_a_result_names_its_evidence(priced: Result):
    evidence = priced.evidence
    assert evidence is not None
    assert priced.kkt == evidence.kkt
    assert priced.binding == evidence.binding
    assert priced.at_bound == evidence.at_bound
    assert priced.elasticities == evidence.elasticities
    assert priced.agreement == priced.best.agreement
    assert priced.shadow_prices[TPOT] == 0.37


def test_without_evidence_nothing_has_a_price(result: Result):
    bare = replace(result, evidence=None)
    assert prices_per_unit(bare) == {}
    assert bare.shadow_prices == {}
    assert bare.kkt != bare.kkt
