"""How does a page stand as HTML? Tables, figures with their numbers, one whole file.

Tables and figures -> HTML that needs no network; whatever a figure shows stands
beside it as a table, which is open until a script has drawn the figure.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from codesign.report.static import static_svg
from codesign.report.tables import Table

NUMERIC = frozenset("0123456789×±–−∞+")
NO_ROWS = '<p class="note">None.</p>'


@dataclass(frozen=True)
class Chart:
    """A figure with the caption under it and the numbers behind it."""

    name: str
    caption: str
    figure: go.Figure
    table: Table


def page_html(title: str, sections: Sequence[str], *, charts: Sequence[Chart]) -> str:
    """A whole page of sections in HTML, with the data of its figures."""
    return Template(_resource("page.html")).substitute(
        title=escape(title), body="\n".join(sections), scripts=_scripts(charts)
    )


def table_html(table: Table, *, heading: str = "h3") -> str:
    """A table with its title and note; an empty one is its note alone."""
    title = f"<{heading}>{escape(table.title)}</{heading}>"
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    if not table.rows:
        return f"{title}\n{note or NO_ROWS}"
    return f"{title}\n{_bare_table(table)}\n{note}"


def _bare_table(table: Table) -> str:
    right = _figure_columns(table)
    head = "".join(
        f"<th{right[i]}>{escape(name)}</th>" for i, name in enumerate(table.columns)
    )
    body = "\n".join(
        f"<tr>{_row_html(table, index, right=right)}</tr>"
        for index in range(len(table.rows))
    )
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _row_html(table: Table, index: int, *, right: Sequence[str]) -> str:
    first, *rest = table.rows[index]
    cells = [f'<th scope="row">{escape(first)}</th>']
    for column, text in enumerate(rest, start=1):
        tone = table.tones.get((index, column), "")
        inner = f'<span class="{tone}">{escape(text)}</span>' if tone else escape(text)
        cells.append(f"<td{right[column]}>{inner}</td>")
    return "".join(cells)


def _figure_columns(table: Table) -> list[str]:
    """Class attribute of each column: numbers are set to the right."""
    columns = list(zip(*table.rows, strict=True)) or [("–",)] * len(table.columns)
    return [
        ' class="figure"' if index and all(map(_is_number, column)) else ""
        for index, column in enumerate(columns)
    ]


def _is_number(text: str) -> bool:
    return not text or (text[0] in NUMERIC and len(text.split()) <= 2)  # noqa: PLR2004  value, unit


def folded_html(table: Table) -> str:
    """A table under its title, folded up."""
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f"<details><summary>{escape(table.title)}</summary>\n"
        f"{_bare_table(table)}\n{note}</details>"
    )


def chart_html(chart: Chart, *, folded: bool = True) -> str:
    """Place of a figure, its caption and its numbers, folded up by the script."""
    numbers = _bare_table(chart.table)
    if folded:
        summary = f"<summary>Numbers: {escape(_lower(chart.table.title))}</summary>"
        numbers = f"<details open>{summary}\n{numbers}\n</details>"
    still = static_svg(chart.figure)
    still = f"<noscript>{still}</noscript>" if still else ""
    return (
        f'<figure><div data-figure="figure-{chart.name}"></div>{still}\n'
        f"<figcaption>{escape(chart.caption)}</figcaption>\n{numbers}</figure>"
    )


def picture_html(svg: str, *, caption: str) -> str:
    """A drawing that needs no script, with its caption."""
    below = f"<figcaption>{escape(caption)}</figcaption>"
    return f'<figure class="picture">{svg}{below}</figure>'


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]


def list_html(sentences: Sequence[str]) -> str:
    """Sentences as points."""
    items = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>\n{items}\n</ul>"


def _scripts(charts: Sequence[Chart]) -> str:
    data = "\n".join(
        f'<script type="application/json" id="figure-{chart.name}">'
        f"{figure_json(chart.figure)}</script>"
        for chart in charts
    )
    library = f'<script id="plotly-library">{get_plotlyjs()}</script>'
    return f"{data}\n{library}\n<script>{_resource('page.js')}</script>"


def figure_json(figure: go.Figure) -> str:
    """Data and layout of a figure as JSON that cannot close its script tag."""
    content = json.loads(str(figure.to_json()))
    shown = {"data": content["data"], "layout": content["layout"]}
    text = json.dumps(shown, separators=(",", ":"))
    return text.replace("<", "\\u003c")


@cache
def _resource(name: str) -> str:
    return (files("codesign.report") / name).read_text(encoding="utf-8")
