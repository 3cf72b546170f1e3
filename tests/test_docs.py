"""Pages, code and figures agree: references, links, examples and tables."""

import ast
import dataclasses
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

import codesign
from codesign.config.catalogue import list_presets
from codesign.config.chips import load_chip
from codesign.config.study import Study
from codesign.cost.detail import operator_costs
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.cost.total import prepare
from codesign.operators.phases import KINDS
from tests.optimize.studies import FEW_STARTS, load_many, quick_search
from tests.study.jobs import design

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, THEORY = ROOT / "codesign", ROOT / "docs" / "theory"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
TUTORIALS = ROOT / "docs" / "tutorials"  # run as a whole by their own test
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md"]
SOURCES = sorted(PACKAGE.rglob("*.py"))

REFERENCE = re.compile(r"docs/(?:theory|decisions)/[\w.-]+?\.md")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"<!-- checked: (\w+) -->\n((?:\|.*\n)+)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)

SEARCHES = {
    "optimize",
    "ladder",
    "pareto",
    "scenarios",
    "split",
    "robust",
}  # calls that take minutes
ROUNDED = 0.01  # tables give three or four digits
ADDITIVE = ("operators", "time", "energy")  # tables whose small entries may be 0
ZERO = 5e-4  # of the largest entry of a column, which may be printed as 0


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def docstrings(path: Path) -> Iterator[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, kinds):
            yield ast.get_docstring(node) or ""


def cited() -> list[tuple[str, str]]:
    """Pairs of source file and page that one of its docstrings names."""
    found = {
        (name(path), page)
        for path in SOURCES
        for text in docstrings(path)
        for page in REFERENCE.findall(text)
    }
    return sorted(found)


@pytest.mark.parametrize(("source", "page"), cited())
def test_page_that_a_docstring_cites_names_the_file(source: str, page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    folder = f"{Path(source).parent.as_posix()}/`"
    known = (source, source.removeprefix("codesign/"), folder)
    assert any(part in text for part in known), f"{page} is silent on {source}"


def test_pages_named_anywhere_exist():
    files = [*SOURCES, *ROOT.glob("*.md"), *(ROOT / "configs").rglob("*.yaml")]
    missing = {
        f"{name(path)}: {page}"
        for path in files
        for page in REFERENCE.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / page).is_file()
    }
    assert not missing


PHYSICS = ("cost", "hardware", "operators", "quality")
FORMULAS = [name(p) for p in SOURCES if p.parent.name in PHYSICS and p.stat().st_size]


@pytest.mark.parametrize("source", [s for s in FORMULAS if "__init__" not in s])
def test_file_of_formulas_has_a_page(source: str):
    pages = [p for p in THEORY.glob("*.md") if p.name != "README.md"]
    naming = [p.name for p in pages if source in p.read_text(encoding="utf-8")]
    assert naming, f"no page under docs/theory names {source}"


def test_files_and_folders_that_pages_name_exist():
    pattern = re.compile(r"`((?:codesign|configs|tests|docs|benchmarks)/[\w./-]+)`")
    missing = {
        f"{name(page)}: {path}"
        for page in PAGES
        for path in pattern.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / path).exists()
    }
    assert not missing


def test_every_public_name_is_in_the_reference():
    text = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    shown = re.findall(r"\.\. auto(?:function|class|module):: codesign\.([\w.]+)", text)
    found = {path.rpartition(".")[2] for path in shown}
    assert set(codesign.__all__) <= found


def test_every_page_of_the_site_is_in_a_table_of_contents():
    trees = re.compile(r"^```\{toctree\}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    listed: set[Path] = {ROOT / "docs" / "index.md"}
    for page in PAGES:
        for tree in trees.findall(page.read_text(encoding="utf-8")):
            entries = [line for line in tree.splitlines() if line and line[0] != ":"]
            listed |= {p for entry in entries for p in page.parent.glob(f"{entry}.md")}
    assert set((ROOT / "docs").rglob("*.md")) <= listed


@pytest.mark.parametrize("folder", ["theory", "decisions"])
def test_index_lists_every_page(folder: str):
    pages = {p.name for p in (ROOT / "docs" / folder).glob("*.md")} - {"README.md"}
    index = (ROOT / "docs" / folder / "README.md").read_text(encoding="utf-8")
    assert pages <= set(LINK.findall(index))


def anchor(heading: str) -> str:
    """Anchor that GitHub makes of a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@pytest.mark.parametrize("page", [name(p) for p in LINKED])
def test_links_inside_the_repository_resolve(page: str):
    path = ROOT / page
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    broken = []
    for link in LINK.findall(text):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        file, _, part = link.partition("#")
        target = path.parent / file if file else path
        if not target.exists():
            broken.append(link)
        elif part:
            headings = HEADING.findall(FENCE.sub("", target.read_text("utf-8")))
            if part not in map(anchor, headings):
                broken.append(link)
    assert not broken


class Example(NamedTuple):
    """Python of a page: what runs in a second, and what starts a search."""

    quick: ast.Module
    searching: ast.Module


def _searches(statement: ast.stmt) -> bool:
    calls = [n.func for n in ast.walk(statement) if isinstance(n, ast.Call)]
    return any(getattr(c, "attr", getattr(c, "id", "")) in SEARCHES for c in calls)


@cache
def example(page: str) -> Example:
    """All blocks of a page, split before the first statement that searches."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = [code for kind, code in FENCE.findall(text) if kind == "python"]
    body = ast.parse("\n".join(blocks)).body
    first = next((i for i, s in enumerate(body) if _searches(s)), len(body))
    return Example(*(ast.Module(part, []) for part in (body[:first], body[first:])))


def _run(code: ast.Module, space: dict[str, Any]) -> None:
    exec(compile(code, "<example>", "exec"), space)  # noqa: S102


def _pages(part: str) -> list[str]:
    pages = [page for page in PAGES if page.parent != TUTORIALS]
    return [name(p) for p in pages if getattr(example(name(p)), part).body]


@pytest.mark.parametrize("page", _pages("quick"))
def test_example_runs(page: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    _run(example(page).quick, {})


@pytest.mark.slow
@pytest.mark.parametrize("page", _pages("searching"))
def test_example_that_searches_runs(
    page: str, *, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """The same statements, with fewer starts and a shorter schedule.

    A study of many cases is that of the tests of scenarios, whose programs are
    compiled once for both.
    """
    monkeypatch.chdir(ROOT)
    space: dict[str, Any] = {}
    _run(example(page).quick, space)
    for key, value in space.items():
        if isinstance(value, Study) and value.cases:
            space[key] = load_many(tmp_path)
        elif isinstance(value, Study):
            search = dataclasses.replace(value.search, starts=FEW_STARTS)
            space[key] = dataclasses.replace(value, search=search)
    with quick_search():
        _run(example(page).searching, space)


def test_readme_has_examples_of_both_kinds():
    assert "README.md" in _pages("quick")
    assert "README.md" in _pages("searching")


@cache
def cost() -> Cost:
    return evaluate(design())


Rows = dict[str, tuple[float, ...]]


def operator_rows() -> Rows:
    """Shapes, GFLOP and MB of the operators of the decode step."""
    steps = jax.jit(prepare)(design()).done
    done = jax.tree.map(lambda leaf: np.asarray(leaf[0]), steps)
    table, work = done.step.table, done.traffic.work
    others = work.activation_bytes + work.extra_bytes
    stored = work.weight_bytes + work.cache_bytes
    columns = (
        table.count,
        table.copies,
        table.rows,
        table.cols,
        table.inner,
        work.flops / 1e9,
        stored / 1e6,
        others / 1e6,
        work.message_bytes / 1e6,
    )
    rows = {
        kind.name: tuple(float(column[i]) for column in columns)
        for i, kind in enumerate(KINDS)
    }
    live = operator_costs(design(), kind="decode")
    return {key: row for key, row in rows.items() if key in live}


def bill_rows(bill: Any, *, scale: float) -> Rows:
    fields = type(bill).__dataclass_fields__
    return {key: (scale * float(getattr(bill, key)),) for key in fields}


def metric_rows() -> Rows:
    names = (
        "time_to_first_token",
        "time_per_output_token",
        "inter_token_latency",
        "throughput",
        "energy_per_token",
        "energy_per_token_server",
        "energy_per_token_facility",
        "power",
        "usd_per_token",
        "carbon_per_token",
    )
    return {key: (float(getattr(cost(), key)),) for key in names}


def anchor_rows() -> Rows:
    parts = ("area", "static_power", "mac_energy", "price")
    anchors = {chip: load_chip(chip).anchor for chip in list_presets("chips")}
    return {
        chip: tuple(float(np.exp(getattr(found, part))) for part in parts)
        for chip, found in anchors.items()
    }


EXPECTED: dict[str, Callable[[], Rows]] = {
    "operators": operator_rows,
    "time": lambda: bill_rows(cost().breakdown.decode_seconds, scale=1e3),
    "energy": lambda: bill_rows(cost().breakdown.decode_joules, scale=1.0),
    "cost": metric_rows,
    "anchors": anchor_rows,
}


def checked_tables() -> dict[str, str]:
    """Text of each table that a page promises to be right, by its name."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    found = [table for text in texts for table in TABLE.findall(text)]
    assert len(found) == len(dict(found)), "two checked tables have one name"
    return dict(found)


def parsed(table: str, *, width: int) -> Rows:
    """First cell of each line of a table, and the numbers in the next ones."""
    lines = [line.strip("|\n").split("|") for line in table.splitlines()[2:]]
    return {
        cells[0].strip(): tuple(float(cell) for cell in cells[1 : width + 1])
        for cells in lines
    }


def test_every_checked_table_is_known():
    assert checked_tables().keys() == EXPECTED.keys()


@pytest.mark.parametrize("table", EXPECTED)
def test_table_is_what_the_code_gives(table: str):
    expected = EXPECTED[table]()
    width = len(next(iter(expected.values())))
    printed = parsed(checked_tables()[table], width=width)
    assert printed.keys() == expected.keys()
    size = np.abs(list(expected.values())).max(axis=0)
    negligible = ZERO * size if table in ADDITIVE else 0.0 * size
    for key, row in expected.items():
        off = np.abs(np.subtract(printed[key], row))
        allowed = ROUNDED * np.abs(row) + negligible
        assert np.all(off <= allowed), f"{table}, {key}: the code gives {row}"
