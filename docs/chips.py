"""Draw every chip of the library: docs/chips.md with its three pictures.

    python docs/chips.py

Needs a Chromium or Chrome on the PATH, which turns the Plotly figures of the report
into SVG. ``codesign presets chips --out chips.html`` shows the same figures without.
"""

import argparse
import base64
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from codesign.config.catalogue import list_presets
from codesign.core.checks import enable_x64
from codesign.report.chip_page import INTRODUCTION, TITLE, chip_charts
from codesign.report.chips import chip_facts
from codesign.report.html import Chart

HERE = Path(__file__).resolve().parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH = 520  # readable where a page gives it half its width
COMMANDS = """\
`python docs/chips.py` draws this page again; `codesign presets chips --out chips.html`
writes it with figures that can be zoomed. Errors with chips left out of their fits:
[silicon.md](../benchmarks/results/silicon.md). How stacks and links fit the edges of
the dies, with what was wrong for Gaudi 2, Gaudi 3, H200 and Maia 200:
[area](theory/area.md#shoreline)."""
PAGE = """\
<html><body><div id="plot"></div><pre id="svg"></pre><script>{script}</script><script>
const figure = {figure};
Plotly.newPlot("plot", figure.data, figure.layout).then((plot) =>
  Plotly.toImage(plot, {{format: "svg", width: {width}, height: {height}}})
).then((url) => {{ document.getElementById("svg").textContent = url; }});
</script></body></html>
"""


def text(charts: Sequence[Chart]) -> str:
    """The page as Markdown: pictures, captions, numbers."""
    lines = [f"# {TITLE}", "", INTRODUCTION, "", COMMANDS]
    for chart in charts:
        lines += ["", f"## {chart.table.title}", ""]
        lines += [f"![{chart.table.title}]({chart.name}.svg)", "", chart.caption, ""]
        lines += ["| " + " | ".join(chart.table.columns) + " |"]
        lines += ["|" + "---|" * len(chart.table.columns)]
        lines += ["| " + " | ".join(row) + " |" for row in chart.table.rows]
    return "\n".join(lines) + "\n"


def draw(figure: go.Figure, path: Path, *, browser: str) -> None:
    """Write a figure as SVG on a white ground."""
    figure.update_layout(paper_bgcolor="white", plot_bgcolor="white", width=WIDTH)
    page = PAGE.format(
        script=get_plotlyjs(),
        figure=figure.to_json(),
        width=WIDTH,
        height=figure.layout.height,
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figure.html"
        file.write_text(page, encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu"]
        command += ["--virtual-time-budget=60000", "--dump-dom", file.as_uri()]
        done = subprocess.run(  # noqa: S603, a browser by name and our own file
            command, capture_output=True, text=True, check=True
        )
    path.write_text(_svg(done.stdout), encoding="utf-8")


def _svg(dom: str) -> str:
    found = re.search(r'<pre id="svg">data:image/svg\+xml(;base64)?,([^<]+)</pre>', dom)
    if found is None:
        raise RuntimeError("the browser drew nothing")
    text = found[2].replace("&amp;", "&")
    return base64.b64decode(text).decode() if found[1] else unquote(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw all figures."""
    parser = argparse.ArgumentParser(description="Draw docs/chips_*.svg.")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the pictures")
    options = parser.parse_args(arguments)
    found = [path for path in map(shutil.which, BROWSERS) if path]
    if not found:
        parser.error(f"none of {', '.join(BROWSERS)} is on the PATH")
    enable_x64()
    chips = chip_facts(list_presets("chips"))
    charts = chip_charts(chips)
    for chart in charts:
        draw(chart.figure, options.out / f"{chart.name}.svg", browser=found[0])
    (options.out / "chips.md").write_text(text(charts), encoding="utf-8")


if __name__ == "__main__":
    main()
