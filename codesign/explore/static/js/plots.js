// Lines and points with axes: uPlot in the page's colours.

import { digits, quantity, unitFor, unitText } from "./format.js";

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function axis(units, values, more = {}) {
  const finite = values.filter((v) => v !== null);
  const [, size] = units[unitFor(finite[Math.floor(finite.length / 2)] ?? 0, units)];
  return {
    stroke: color("--faint"), font: "10.5px system-ui", gap: 3,
    grid: { stroke: color("--line"), width: 1 }, ticks: { show: false },
    filter: (_, splits) => splits,
    values: (_, splits) => splits.map((v) => (v === null ? "" : digits(v / size))),
    unit: unitText(1.0 * size, units), ...more,
  };
}

const ticks = (low, high) => {
  const found = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
    for (const k of [1, 2, 5]) if (k * 10 ** e >= low * 0.999 && k * 10 ** e <= high * 1.001) found.push(k * 10 ** e);
  return found.length > 7 ? found.filter((v) => String(v.toExponential()).startsWith("1")) : found;
};

/** The metric along one slider, with the tangent that the slope gives. */
export function drawSlice(place, found, { slider, metric, now, slope }) {
  place.replaceChildren();
  const points = found.points.filter((p) => p.y !== null);
  if (points.length < 2) {
    const note = document.createElement("p");
    note.className = "faint";
    note.textContent = found.at ? "" : "Zero on this chip: nothing to slide along.";
    place.append(note);
    return;
  }
  const xs = points.map((p) => p.x);
  const at = found.at;
  const tangent = xs.map((x) => {
    if (slope === null || slope === undefined || !(at > 0)) return null;
    const far = Math.abs(Math.log(x / at));
    if (far > 0.7) return null;
    return metric.signed ? now + slope * Math.log(x / at) : now * (x / at) ** slope;
  });
  const log = slider.log && xs[0] > 0;
  const x = axis(slider.units, [at || xs[xs.length - 1]], log ? { splits: () => ticks(xs[0], xs[xs.length - 1]), size: 22 } : { size: 22, space: 44 });
  const y = axis(metric.units, [now], { size: 44, space: 26 });
  const mark = (plot) => {
    const [px, py] = [plot.valToPos(at, "x", true), plot.valToPos(now, "y", true)];
    plot.ctx.save();
    plot.ctx.fillStyle = color("--accent");
    plot.ctx.beginPath();
    plot.ctx.arc(px, py, 4 * devicePixelRatio, 0, 2 * Math.PI);
    plot.ctx.fill();
    plot.ctx.restore();
  };
  new uPlot({
    width: place.clientWidth, height: place.clientHeight, padding: [10, 10, 0, 0], legend: { show: false },
    cursor: { show: false }, select: { show: false },
    scales: { x: { time: false, distr: log ? 3 : 1, range: [xs[0], xs[xs.length - 1]] }, y: { range: (_, low, high) => { const pad = 0.08 * (high - low) || Math.abs(high) * 0.05 || 1; return [low - pad, high + pad]; } } },
    axes: [x, y],
    series: [{}, { stroke: color("--ink"), width: 1.4, points: { show: false } }, { stroke: color("--accent"), width: 1.4, dash: [4, 3], points: { show: false } }],
    hooks: { draw: [mark] },
  }, [xs, points.map((p) => p.y), tangent], place);
  return { x: x.unit, y: y.unit };
}

/** Points that load a design when they are clicked. */
export function drawFront(place, points, { x, y, here, base, chosen, choose }) {
  place.replaceChildren();
  const all = [...points, here, base].filter((p) => p && p.x > 0 && p.y > 0);
  if (!all.length) return;
  const order = points.map((_, i) => i).sort((a, b) => points[a].x - points[b].x);
  const xs = order.map((i) => points[i].x), ys = order.map((i) => points[i].y);
  const ends = (name) => { const v = all.map((p) => p[name]); const pad = (Math.max(...v) / Math.min(...v)) ** 0.08 * 1.04; return [Math.min(...v) / pad, Math.max(...v) * pad]; };
  const [rx, ry] = [ends("x"), ends("y")];
  const spread = (r) => { const log = ticks(...r); if (log.length >= 3) return log; const step = 10 ** Math.floor(Math.log10(r[1] - r[0])); const fine = (r[1] - r[0]) / step < 3 ? step / 2 : step; const found = []; for (let v = Math.ceil(r[0] / fine) * fine; v <= r[1]; v += fine) found.push(v); return found; };
  const ax = axis(x.units, [all[0].x], { splits: () => spread(rx), size: 40, labelSize: 16, label: "", labelFont: "11px system-ui" });
  const ay = axis(y.units, [all[0].y], { splits: () => spread(ry), size: 52, labelSize: 16, label: "", labelFont: "11px system-ui" });
  ax.label = `${x.title}${ax.unit ? ` [${ax.unit}]` : ""}`;
  ay.label = `${y.title}${ay.unit ? ` [${ay.unit}]` : ""}`;
  const draw = (plot) => {
    const ctx = plot.ctx, k = devicePixelRatio;
    const dot = (p, { radius, fill, stroke, name }) => {
      const [px, py] = [plot.valToPos(p.x, "x", true), plot.valToPos(p.y, "y", true)];
      ctx.beginPath(); ctx.arc(px, py, radius * k, 0, 2 * Math.PI);
      ctx.fillStyle = fill; ctx.fill(); ctx.lineWidth = 1.5 * k; ctx.strokeStyle = stroke; ctx.stroke();
      if (name) { ctx.fillStyle = color("--soft"); ctx.font = `${11 * k}px system-ui`; ctx.fillText(name, px + 9 * k, py + 4 * k); }
    };
    ctx.save();
    points.forEach((p, i) => dot(p, { radius: i === chosen ? 6 : 4.5, fill: i === chosen ? color("--accent") : color("--card"), stroke: color("--accent") }));
    if (base?.x > 0) dot(base, { radius: 4, fill: color("--faint"), stroke: color("--card"), name: "baseline" });
    if (here?.x > 0 && chosen === null && (here.x !== base?.x || here.y !== base?.y)) dot(here, { radius: 4, fill: color("--ink"), stroke: color("--card"), name: "now" });
    ctx.restore();
  };
  const plot = new uPlot({
    width: place.clientWidth, height: place.clientHeight, padding: [14, 16, 0, 0], legend: { show: false },
    cursor: { show: false }, select: { show: false },
    scales: { x: { time: false, distr: 3, range: rx }, y: { distr: 3, range: ry } }, axes: [ax, ay],
    series: [{}, { stroke: color("--accent-2"), width: 1.5, points: { show: false } }],
    hooks: { draw: [draw] },
  }, [xs, ys], place);
  const nearest = (event) => {
    const box = plot.over.getBoundingClientRect();
    const gaps = points.map((p) => Math.hypot(plot.valToPos(p.x, "x") - (event.clientX - box.left), plot.valToPos(p.y, "y") - (event.clientY - box.top)));
    const best = gaps.indexOf(Math.min(...gaps));
    return gaps[best] < 18 ? best : -1;
  };
  plot.over.addEventListener("click", (event) => { const i = nearest(event); if (i >= 0) choose(i); });
  plot.over.addEventListener("mousemove", (event) => {
    const i = nearest(event);
    plot.over.style.cursor = i >= 0 ? "pointer" : "default";
    plot.over.title = i >= 0 ? `${quantity(points[i].x, x.units)}, ${quantity(points[i].y, y.units)}` : "";
  });
}
