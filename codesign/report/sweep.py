"""What did a sweep find? Its best points, and what each parameter does to them.

A run's folder of shards -> figures, tables and one HTML file.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from codesign.config.limits import metric_units
from codesign.config.sweep import Axis
from codesign.core.quantities import Unit
from codesign.optimize.front import non_dominated
from codesign.report.html import Chart, chart_html, page_html, table_html
from codesign.report.style import BLUE, GREY, ORANGE, base_figure
from codesign.report.tables import (
    BETTER,
    HEADLINE,
    Table,
    metric_title,
    metric_unit,
)
from codesign.report.texts import common_unit, number, percent, quantity
from codesign.study.folder import Run
from codesign.study.query import left_out
from codesign.study.table import folder_table

Floats = NDArray[np.float64]
BEST = 10  # points in the table
GROUPS = 24  # of one parameter; fewer where it takes fewer values
CLOUD = 2000  # points drawn behind a front
WIDE = 4.0  # highest over lowest value from which an axis is logarithmic


def write_sweep(run: Run, path: Path, *, command: str) -> None:
    """The points of a run as one HTML file that needs no network."""
    name, minimize = run.job.study.name, run.job.study.minimize
    charts = sweep_charts(run)
    body = [
        f"<h1>{escape(name)}: {escape(metric_title(minimize))} over a sweep</h1>",
        f"<p>{escape(_sentence(run))}</p>",
        table_html(points_table(run), heading="h2"),
        *(chart_html(chart) for chart in charts),
        table_html(best_table(run), heading="h2"),
        f"<h2>Run it again</h2>\n<pre>{escape(command)}</pre>",
    ]
    path.write_text(page_html(f"{name}: sweep", body, charts=charts), encoding="utf-8")


def sweep_charts(run: Run) -> list[Chart]:
    """The objective along every parameter, and against another metric."""
    minimize = run.job.study.minimize
    found = folder_table(run).to_numpy([minimize, "feasible"])
    kept = _kept(found[minimize], found["feasible"])
    if not kept.any():
        return []
    axes = [each for each in run.job.plan.axes if _varies(run, each)]
    charts = [_along(run, axis, kept=kept) for axis in axes]
    other = next((m for m in _others(run) if m in run.job.metrics), None)
    return [*charts, *([] if other is None else [_against(run, other, kept=kept)])]


def points_table(run: Run) -> Table:
    """How many points there are, and how many of them count."""
    table = folder_table(run)
    minimize, plan = run.job.study.minimize, run.job.plan
    found = table.to_numpy([minimize, "feasible", "legal"])
    lost = left_out(run.folder)
    kept = _kept(found[minimize], found["feasible"])
    rows = [
        ("points", str(plan.points), plan.method),
        ("feasible", str(int(kept.sum())), percent(float(kept.mean()))),
        ("no design can be built", str(lost.illegal), ""),
        ("no finite number", str(lost.not_finite), ""),
    ]
    return Table("Points", ("", "number", ""), tuple(rows), note=_kept_limits(run))


def _kept_limits(run: Run) -> str:
    """Which limits a feasible point keeps: a search knows a tuned baseline."""
    limits = ", ".join(limit.text for limit in run.job.study.limits)
    always = "Feasible points keep the limits that are always on"
    if not limits:
        return f"{always}."
    if run.job.plan.search:
        return (
            "Each point is the best design of a search, against a baseline tuned at "
            f"that point. {always}, and those of the study ({limits}); where the sweep "
            "changes a limit, that of the point."
        )
    return (
        f"{always}, and those of the study ({limits}) that refer to no tuned baseline "
        "and to no share of draws."
    )


def best_table(run: Run) -> Table:
    """The feasible points with the least objective, one row each."""
    table, job = folder_table(run), run.job
    found = table.to_numpy([job.study.minimize, "feasible"])
    values = found[job.study.minimize]
    kept = np.flatnonzero(_kept(values, found["feasible"]))
    first = kept[np.argsort(values[kept], kind="stable")[:BEST]]
    rows = [table.row(int(place)) for place in first]
    free = [v.path for v in job.study.free] if job.plan.search else []
    moved = [*(axis.path for axis in job.plan.axes), *free]
    metrics = [job.study.minimize, *(m for m in _others(run) if m in job.metrics)]
    units = {name: Unit(text) for name, text in job.units().items()}
    return Table(
        title="Best points",
        columns=("point", *map(metric_title, metrics), *moved),
        rows=tuple(
            (
                str(int(row["point"])),
                *(quantity(float(row[name]), units[name]) for name in metrics),
                *(quantity(float(row[path]), units[path]) for path in moved),
            )
            for row in rows
        ),
        note="No point is feasible." if not rows else "best.yaml holds the first one.",
    )


def _sentence(run: Run) -> str:
    best = folder_table(run).best(run.job.study.minimize)
    if best is None:
        return "No point of the sweep is feasible."
    minimize = run.job.study.minimize
    value = quantity(float(best[minimize]), metric_unit(minimize))
    return f"Point {int(best['point'])} is the best feasible one, at {value}."


def _others(run: Run) -> list[str]:
    """Metrics that stand beside the objective: limited ones first."""
    limited = [limit.metric for limit in run.job.study.limits]
    names = dict.fromkeys([*limited, *HEADLINE])
    known = metric_units()
    return [n for n in names if n != run.job.study.minimize and n in known]


def _kept(values: Floats, feasible: NDArray[np.generic]) -> NDArray[np.bool_]:
    return feasible.astype(bool) & np.isfinite(values)


def _varies(run: Run, axis: Axis) -> bool:
    column = folder_table(run)[axis.path]
    return bool(np.nanmin(column) < np.nanmax(column))


def _along(run: Run, axis: Axis, *, kept: NDArray[np.bool_]) -> Chart:
    """Least and median objective of the feasible points, by a parameter's value."""
    minimize = run.job.study.minimize
    found = folder_table(run).to_numpy([axis.path, minimize])
    where, groups = _groups(found[axis.path])
    objective = np.where(kept, found[minimize], np.nan)
    rows = [objective[groups == index] for index in range(len(where))]
    sound = [each[np.isfinite(each)] for each in rows]
    least = np.array([each.min() if each.size else np.nan for each in sound])
    middle = np.array([np.median(each) if each.size else np.nan for each in sound])
    shares = [s.size / max(r.size, 1) for s, r in zip(sound, rows, strict=True)]
    across, wide = common_unit(list(where), Unit(axis.unit))
    up, high = common_unit(list(least), metric_unit(minimize))
    titles = (_titled(axis.path, across), _titled(metric_title(minimize), up))
    figure = go.Figure()
    for name, color, line in (("least", BLUE, least), ("median", GREY, middle)):
        figure.add_scatter(
            x=where / wide,
            y=line / high,
            mode="lines+markers",
            line={"color": color, "width": 2},
            name=f"{name} of the feasible points",
        )
    return Chart(
        name=f"along-{axis.path.replace('.', '-')}",
        caption=f"Least and median {metric_title(minimize)} of the feasible points at "
        f"each {axis.path}, whatever their other parameters.",
        figure=base_figure(
            figure,
            height=380,
            xaxis=_axis(titles[0], where),
            yaxis=_axis(titles[1], np.concatenate([least, middle])),
        ),
        table=Table(
            title=f"Along {axis.path}",
            columns=(titles[0], "points", "feasible", "least", "median"),
            rows=tuple(
                (
                    number(value / wide),
                    str(row.size),
                    percent(share, digits=2),
                    number(low / high),
                    number(mid / high),
                )
                for value, row, share, low, mid in zip(
                    where, rows, shares, least, middle, strict=True
                )
            ),
        ),
    )


def _groups(values: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Middles of a column's groups of equal number, and the group of each row.

    A column of few values has a group for each.
    """
    distinct = np.unique(values[:: max(1, len(values) // 100_000)])
    if len(distinct) <= GROUPS:
        every, groups = np.unique(values, return_inverse=True)
        return every, groups
    edges = np.quantile(values, np.linspace(0.0, 1.0, GROUPS + 1)[1:-1])
    filled, groups = np.unique(np.searchsorted(edges, values), return_inverse=True)
    middles = [np.median(values[groups == index]) for index in range(len(filled))]
    return np.array(middles), groups


def _against(run: Run, other: str, *, kept: NDArray[np.bool_]) -> Chart:
    """Feasible points in two metrics, and those that no other one beats in both."""
    minimize = run.job.study.minimize
    found = folder_table(run).to_numpy([other, minimize])
    points = np.stack([found[other], found[minimize]], axis=1)[kept]
    points = points[np.all(np.isfinite(points), axis=1)]
    signs = np.array([-1.0 if BETTER.get(other) == 1 else 1.0, 1.0])
    front = points[non_dominated(points * signs)]
    front = front[np.argsort(front[:, 0], kind="stable")]
    some = np.random.default_rng(0).permutation(len(points))[:CLOUD]
    units = [
        common_unit(list(front[:, place]), metric_unit(name))
        for place, name in enumerate((other, minimize))
    ]
    scale = np.array([size for _, size in units])
    titles = [
        _titled(metric_title(name), unit)
        for name, (unit, _) in zip((other, minimize), units, strict=True)
    ]
    cloud, line = points[some] / scale, front / scale
    figure = go.Figure(
        go.Scatter(
            x=cloud[:, 0],
            y=cloud[:, 1],
            mode="markers",
            marker={"size": 4, "color": GREY, "opacity": 0.4},
            name="feasible points",
        )
    )
    figure.add_scatter(
        x=line[:, 0],
        y=line[:, 1],
        mode="lines+markers",
        line={"color": ORANGE, "width": 1, "shape": "hv"},
        marker={"size": 7, "color": ORANGE},
        name="beaten by no other in both",
    )
    shown = f" {CLOUD} of them are drawn, at random." if len(points) > CLOUD else ""
    return Chart(
        name="against",
        caption=f"Feasible points: {metric_title(minimize)} against "
        f"{metric_title(other)}.{shown}",
        figure=base_figure(
            figure,
            height=420,
            xaxis=_axis(titles[0], cloud[:, 0]),
            yaxis=_axis(titles[1], cloud[:, 1]),
        ),
        table=Table(
            title="Points that no other one beats in both",
            columns=tuple(titles),
            rows=tuple(tuple(map(number, row)) for row in line),
        ),
    )


def _titled(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else name


def _axis(title: str, values: Sequence[float] | Floats) -> dict[str, object]:
    """An axis with its title, logarithmic where its values span a wide range."""
    some = np.asarray(values, float)
    some = some[np.isfinite(some)]
    wide = some.size and some.min() > 0 and some.max() > WIDE * some.min()
    return {"title": {"text": title}, "type": "log" if wide else "linear"}
