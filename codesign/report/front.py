"""What does one metric cost in another? A Pareto front as figure, table and page.

``Front`` -> Plotly figure, table of designs, and one HTML file.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from codesign.core.errors import InputError
from codesign.core.paths import get_path
from codesign.core.quantities import Unit
from codesign.optimize.pareto import Front
from codesign.optimize.result import Result
from codesign.report.html import Chart, chart_html, page_html, table_html
from codesign.report.style import BLUE, GREY, ORANGE, base_figure, rung_colors
from codesign.report.tables import Table, metric_title, metric_unit, metric_value
from codesign.report.texts import common_unit, number, quantity

MARKER = 9
COLOR_SCALE = "Cividis"
THREE = 3  # metrics: the third is a colour


def axis_units(front: Front) -> tuple[tuple[str, float], ...]:
    """Unit and scale of every metric, fit for its values."""
    tuned = [metric_value(front.tuned, name) for name in front.metrics]
    return tuple(
        common_unit([*column, value], metric_unit(name))
        for name, column, value in zip(
            front.metrics, front.values.T, tuned, strict=True
        )
    )


def plot_front(front: Front) -> go.Figure:
    """The designs of a front over the traded metric, beside the tuned baseline.

    A third metric is the colour of the designs.
    """
    units = axis_units(front)
    scaled = front.values / np.array([scale for _, scale in units])
    titles = [
        f"{metric_title(name)} [{unit}]"
        for name, (unit, _) in zip(front.metrics, units, strict=True)
    ]
    plane = len(front.metrics) == THREE
    marker = {"size": MARKER, "color": BLUE}
    if plane:
        bar = {"title": {"text": titles[2], "side": "right"}}
        marker |= {
            "color": scaled[:, 2],
            "colorscale": COLOR_SCALE,
            "showscale": True,
            "colorbar": bar,
        }
    figure = go.Figure(
        go.Scatter(
            x=scaled[:, 1],
            y=scaled[:, 0],
            mode="markers" if plane else "lines+markers",
            line={"color": GREY, "width": 1, "shape": "hv"},
            marker=marker,
            name="co-designed",
            text=[_words(front, index) for index in range(len(scaled))],
            hovertemplate="%{text}<extra></extra>",
        )
    )
    tuned = [
        metric_value(front.tuned, name) / scale
        for name, (_, scale) in zip(front.metrics, units, strict=True)
    ]
    figure.add_scatter(
        x=[tuned[1]],
        y=[tuned[0]],
        mode="markers",
        marker={"size": MARKER + 6, "symbol": "star", "color": ORANGE},
        name="tuned baseline",
        hovertemplate="tuned baseline<br>%{x:.3g}, %{y:.3g}<extra></extra>",
    )
    positive = min(np.min(scaled[:, 1], initial=np.inf), tuned[1]) > 0
    return base_figure(
        figure,
        height=460,
        xaxis={"title": {"text": titles[1]}, "type": "log" if positive else "linear"},
        yaxis={"title": {"text": titles[0]}, "type": "log"},
    )


def _words(front: Front, index: int) -> str:
    rung = front.rungs[index]
    parts = [f"<b>design {index}</b>"]
    parts += [
        f"{metric_title(name)}: {quantity(value, metric_unit(name))}"
        for name, value in zip(front.metrics, front.values[index], strict=True)
    ]
    parts += [
        f"{v.path}: {quantity(float(get_path(rung.design, v.path)), Unit(v.unit))}"
        for v in front.study.free
    ]
    return "<br>".join(parts)


def front_table(front: Front) -> Table:
    """One row per design: its metrics, then its free variables."""
    units = axis_units(front)
    columns = [
        f"{metric_title(name)} [{unit}]"
        for name, (unit, _) in zip(front.metrics, units, strict=True)
    ]
    scales = np.array([scale for _, scale in units])
    rows = [
        (
            str(index),
            *(number(v) for v in front.values[index] / scales),
            *(
                quantity(float(get_path(rung.design, v.path)), Unit(v.unit))
                for v in front.study.free
            ),
        )
        for index, rung in enumerate(front.rungs)
    ]
    return Table(
        title="Designs on the front",
        columns=("design", *columns, *(v.path for v in front.study.free)),
        rows=tuple(rows),
        note=_note(front),
    )


def _note(front: Front) -> str:
    if not front.feasible:
        return front.status
    return (
        f"Hypervolume {number(front.hypervolume)}, of the logarithms of the metrics "
        "within the worst of both ends. Every design is legal and keeps all limits of "
        f"the study. {front.lost.text}"
    ).strip()


def short_table(front: Front) -> Table:
    """The metrics of the designs alone, and the tuned baseline."""
    full = front_table(front)
    width = 1 + len(front.metrics)
    tuned = [
        number(metric_value(front.tuned, name) / scale)
        for name, (_, scale) in zip(front.metrics, axis_units(front), strict=True)
    ]
    return Table(
        title=full.title,
        columns=full.columns[:width],
        rows=(*(row[:width] for row in full.rows), ("tuned baseline", *tuned)),
        note=full.note,
    )


def front_chart(data: Mapping[str, Any], result: Result) -> Chart:
    """A front that was traced before, and the designs of a result beside it.

    ``data`` is the content of ``front.json``.

    Raises:
        InputError: it is not that of a front.
    """
    try:
        y, x = list(data["tuned"])[:2]
        designs = [(float(d[x]), float(d[y])) for d in data["designs"]]
        shown = {r.name: [metric_value(r, m) for m in (x, y)] for r in result.rungs}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"front.json: not the data of a front ({error}).") from error
    columns = zip(*designs, *shown.values(), strict=True)
    units = [
        common_unit(column, metric_unit(name))
        for name, column in zip((x, y), columns, strict=True)
    ]
    titles = [
        f"{metric_title(m)} [{u}]" for m, (u, _) in zip((x, y), units, strict=True)
    ]
    (_, wide), (_, high) = units
    places = [(across / wide, up / high) for across, up in designs]
    marks = {name: (across / wide, up / high) for name, (across, up) in shown.items()}
    rows = [("front", *map(number, place)) for place in places]
    rows += [(name, *map(number, place)) for name, place in marks.items()]
    figure = _beside(places, marks, colors=rung_colors(result))
    return Chart(
        name="front",
        caption=f"Legal designs with the least {metric_title(y)} at their "
        f"{metric_title(x)}, and the designs of this page.",
        figure=base_figure(
            figure,
            height=420,
            xaxis={"title": {"text": titles[0]}, "type": "log"},
            yaxis={"title": {"text": titles[1]}, "type": "log"},
        ),
        table=Table("Front", ("design", *titles), tuple(rows)),
    )


def _beside(
    places: Sequence[tuple[float, float]],
    marks: Mapping[str, tuple[float, float]],
    *,
    colors: Mapping[str, str],
) -> go.Figure:
    """A front as a line of points, and single designs as stars."""
    across, up = zip(*places, strict=True)
    line = {"color": GREY, "width": 1, "shape": "hv"}
    figure = go.Figure(
        go.Scatter(
            x=across,
            y=up,
            mode="lines+markers",
            line=line,
            marker={"size": MARKER, "color": BLUE},
            name="front",
        )
    )
    for name, place in marks.items():
        star = {"size": MARKER + 4, "symbol": "star", "color": colors.get(name, GREY)}
        figure.add_scatter(
            x=[place[0]], y=[place[1]], mode="markers", marker=star, name=name
        )
    return figure


def write_front(front: Front, path: Path, *, command: str) -> None:
    """The front as one HTML file that needs no network."""
    y, x = (metric_title(name) for name in front.metrics[:2])
    chart = Chart(
        name="front",
        caption=f"Each point is a legal design with the least {y} at its {x}; no "
        "design of the study that was found beats it in all metrics.",
        figure=plot_front(front),
        table=short_table(front),
    )
    body = [
        f"<h1>{escape(front.study.name)}: {escape(y)} against {escape(x)}</h1>",
        chart_html(chart),
        table_html(front_table(front), heading="h2"),
        f"<h2>Run it again</h2>\n<pre>{escape(command)}</pre>",
    ]
    title = f"{front.study.name}: Pareto front"
    path.write_text(page_html(title, body, charts=[chart]), encoding="utf-8")
