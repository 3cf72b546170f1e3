"""Records, results and tables show themselves with units, wherever they are."""

from html.parser import HTMLParser

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config import units
from codesign.core.paths import path_units
from codesign.core.quantities import Unit
from codesign.core.show import html_table, quantity_text, text_table, use_writer
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.serving.design import Design
from codesign.study.table import Table
from tests.physics.designs import preset_design


@pytest.fixture(scope="module")
def design() -> Design:
    return preset_design("h100-sxm", "llama-3-8b")


@pytest.fixture(scope="module")
def cost(design: Design) -> Cost:
    return evaluate(design)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        assert tag not in {"script", "link", "img"}, attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(html: str) -> list[str]:
    reader = _Tags()
    reader.feed(html)
    assert not reader.open
    return reader.text


def test_cost_in_print_has_a_line_a_field_with_its_unit(cost: Cost):
    lines = dict(line.split(maxsplit=1) for line in str(cost).splitlines()[1:])
    assert list(lines) == list(Cost.__dataclass_fields__)
    assert lines["energy_per_token"].endswith("J/token")
    assert lines["decode_voltage"] == "750 mV"
    assert lines["breakdown"].startswith("Breakdown, ")


@pytest.mark.parametrize("name", ["cost", "design"])
def test_notebook_shows_every_leaf(name: str, request: pytest.FixtureRequest):
    record = request.getfixturevalue(name)
    words = read(record._repr_html_())
    for path in path_units(type(record)):
        assert path.rpartition(".")[2] in words, path
    if name == "design":
        assert "3.35 TB/s" in words
        assert "none" in words, "no draft model"


def test_traced_and_batched_records_show_themselves(design: Design):
    seen: list[str] = []

    def peak(given: Design) -> jax.Array:
        seen.append(str(given.deployment) + given.deployment._repr_html_())
        return jnp.asarray(given.chip.tdp)

    jax.make_jaxpr(peak)(design)
    assert "traced" in seen[0]
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), design.request)
    assert "1024 token to 2048 token, 2 values" in str(many)


def test_quantities_have_units_before_prefixes_are_known():
    try:
        use_writer(lambda value, unit: f"{value:g} {unit.text}")
        assert quantity_text(3.35e12, Unit("B/s")) == "3.35e+12 B/s"
    finally:
        use_writer(lambda value, u: units.format_quantity(value, u, digits=4))
    assert quantity_text(3.35e12, Unit("B/s")) == "3.35 TB/s"


def test_table_of_a_sweep_shows_its_first_rows():
    columns = {
        "deployment.batch": 2.0 ** np.arange(12),
        "power": np.linspace(300.0, 600.0, 12),
        "legal": np.ones(12, bool),
    }
    table = Table(
        units={"deployment.batch": "1", "power": "W", "legal": "1"},
        inputs={},
        versions={},
        read=lambda names: {name: columns[name] for name in names},
        part_of=lambda place: (columns, place),
    )
    assert "12 rows; the first 10 are shown." in str(table)
    words = read(table._repr_html_())
    assert {"power", "512", "300 W", "True"} <= set(words)
    assert "1024" not in words


def test_markup_in_cells_is_text():
    text = html_table(("a",), [("<script>alert(1)</script>",)], note="<b>")
    assert "<script>" not in text
    assert "<b>" not in text
    assert text_table([("a", "bb"), ("ccc", "d")]) == "a    bb\nccc  d"
