// Roofline, bars and die: drawn anew as SVG at each answer.

import { digits, el, percent, quantity, svg, within } from "./format.js";

const RATE = [["FLOP/s", 1], ["MFLOP/s", 1e6], ["GFLOP/s", 1e9], ["TFLOP/s", 1e12], ["PFLOP/s", 1e15], ["EFLOP/s", 1e18]];
const BANDWIDTH = [["GB/s", 1e9], ["TB/s", 1e12], ["PB/s", 1e15]];
const SECONDS = [["ns", 1e-9], ["us", 1e-6], ["ms", 1e-3], ["s", 1]];
const AREA = [["mm^2", 1e-6]];
const superscript = (n) => String(n).replace(/./g, (c) => "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"["0123456789-".indexOf(c)]);
const roomOf = (place) => ({ width: Math.max(place.clientWidth, 120), height: Math.max(place.clientHeight, 90) });

export function drawRoofline(place, found) {
  const { width, height } = roomOf(place);
  const busy = found.operators;
  if (!busy.length) { place.replaceChildren(); return; }
  const m = { left: 44, right: 10, top: 8, bottom: 30 };
  const peaks = found.peaks.map((p) => p.peak);
  const slowest = Math.min(...found.memories.map((each) => each.bandwidth));
  const xs = busy.map((o) => o.intensity);
  const knees = found.memories.map((each) => Math.max(...peaks) / each.bandwidth);
  const x0 = Math.log10(Math.min(...xs, 0.4 * Math.min(...knees))) - 0.25;
  const x1 = Math.max(Math.log10(Math.max(...xs)) + 0.3, Math.log10((2.5 * Math.max(...peaks)) / slowest));
  const ys = busy.map((o) => o.rate);
  const y1 = Math.log10(Math.max(...peaks)) + 0.25;
  const y0 = Math.max(Math.log10(Math.min(...ys)) - 0.3, y1 - 7);
  const X = (v) => m.left + ((Math.log10(v) - x0) / (x1 - x0)) * (width - m.left - m.right);
  const Y = (v) => height - m.bottom - ((Math.log10(v) - y0) / (y1 - y0)) * (height - m.top - m.bottom);
  const nodes = [];
  for (let e = Math.ceil(y0); e <= y1; e++)
    nodes.push(svg("line", { class: "axis", x1: m.left, x2: width - m.right, y1: Y(10 ** e), y2: Y(10 ** e) }),
      svg("text", { class: "tick", x: m.left - 6, y: Y(10 ** e) + 3.5, "text-anchor": "end" }, `10${superscript(e)}`));
  for (let e = Math.ceil(x0); e <= x1; e++)
    nodes.push(svg("line", { class: "axis", x1: X(10 ** e), x2: X(10 ** e), y1: m.top, y2: height - m.bottom }),
      svg("text", { class: "tick", x: X(10 ** e), y: height - m.bottom + 13, "text-anchor": "middle" }, digits(10 ** e)));
  nodes.push(
    svg("text", { x: width - m.right, y: height - 3, "text-anchor": "end" }, "arithmetic intensity [FLOP/B]"),
    svg("text", { x: m.left + 4, y: m.top + 9 }, "FLOP/s per chip"),
  );
  const left = 10 ** x0, right = 10 ** x1;
  const top = Math.max(...peaks);
  const written = [];
  for (const memory of found.memories) {
    const knee = Math.min(top / memory.bandwidth, right);
    const start = Math.max(left, 10 ** y0 / memory.bandwidth);
    nodes.push(svg("polyline", { class: "roofline", points: `${X(start)},${Y(start * memory.bandwidth)} ${X(knee)},${Y(knee * memory.bandwidth)}` }));
    for (let share = 0; share <= 1; share += 0.04) {
      const v = 10 ** (Math.log10(start) + share * (Math.log10(knee) - Math.log10(start)));
      written.push([X(v) - 8, Y(v * memory.bandwidth) - 14, X(v) + 8, Y(v * memory.bandwidth) + 4]);
    }
    const at = 10 ** (Math.log10(start) + 0.45 * (Math.log10(knee) - Math.log10(start)));
    const angle = (-180 / Math.PI) * Math.atan2(Y(at) - Y(at * 10), (X(at * 10) - X(at)) * 1) * 1;
    const label = svg("text", { class: "strong", x: 0, y: -5, "text-anchor": "middle" }, `${memory.name} ${quantity(memory.bandwidth, BANDWIDTH)}`);
    nodes.push(svg("g", { transform: `translate(${X(at)} ${Y(at * memory.bandwidth)}) rotate(${angle})` }, label));
  }
  found.peaks.forEach((p, index) => {
    const fastest = Math.max(...found.memories.map((each) => each.bandwidth));
    const from = Math.max(left, p.peak / fastest);
    nodes.push(svg("line", { class: `roofline ${p.peak < top ? "low" : ""}`, x1: X(from), x2: X(right), y1: Y(p.peak), y2: Y(p.peak) }));
    const y = Y(p.peak) + (index === 0 && found.peaks.length > 1 ? 12 : -4);
    nodes.push(svg("text", { class: "strong", x: width - m.right, y, "text-anchor": "end" }, `${p.bits} bit ${quantity(p.peak, RATE)}`));
    written.push([width - m.right - 110, y - 10, width - m.right, y + 4]);
  });
  const placed = [];
  for (const o of [...busy].sort((a, b) => b.share - a.share)) {
    const r = 2.5 + 9 * Math.sqrt(o.share);
    const [x, y] = [X(o.intensity), Y(Math.max(o.rate, 10 ** y0))];
    const mark = o.step === "decode"
      ? svg("circle", { class: "decode", cx: x, cy: y, r })
      : svg("rect", { class: "prompt", x: x - r * 0.8, y: y - r * 0.8, width: 1.6 * r, height: 1.6 * r, transform: `rotate(45 ${x} ${y})` });
    mark.append(svg("title", {}, `${o.name}, ${o.step} step: ${quantity(o.seconds, SECONDS)}, ${percent(o.share)} of operator time; waits for ${o.binding}`));
    nodes.push(mark);
    placed.push({ o, x, y, r });
  }
  nodes.push(...labels(placed, { width, height, m, written }));
  const shown = svg("svg", { width, height, role: "img", "aria-label": "Roofline with operators" }, ...nodes);
  place.replaceChildren(shown);
}

/** Names of the longest operators, below right of their marks, none on another. */
function labels(placed, { width, height, m, written }) {
  const taken = [...written, ...placed.map(({ x, y, r }) => [x - r, y - r, x + r, y + r])];
  const nodes = [];
  for (const { o, x, y, r } of placed) {
    if (nodes.length >= 12 || o.share < 0.02) break;
    const text = `${o.name}${o.step === "prompt" ? " (prompt)" : ""}`;
    const w = 5.4 * text.length;
    for (const [dx, dy] of [[r + 5, 14], [r + 5, 26], [-w - r - 5, -8], [r + 14, 40], [-w - r - 5, 18], [-w / 2, r + 30], [-w / 2, -r - 16]]) {
      const box = [x + dx - 2, y + dy - 9, x + dx + w, y + dy + 3];
      const inside = box[0] > m.left && box[2] < width - m.right && box[1] > m.top && box[3] < height - m.bottom;
      if (!inside || taken.some((t) => box[0] < t[2] && box[2] > t[0] && box[1] < t[3] && box[3] > t[1])) continue;
      taken.push(box);
      const near = dx > 0 ? x + dx - 2 : x + dx + w + 2;
      nodes.push(svg("line", { class: "leader", x1: x + (dx > 0 ? 0.6 : -0.6) * r, y1: y + 0.7 * r * Math.sign(dy), x2: near, y2: y + dy - 3 }),
        svg("text", { x: x + dx, y: y + dy }, text));
      break;
    }
  }
  return nodes;
}

/** Rows of a name, a bar in parts, and a number. */
export function drawBars(place, rows, { units, keys, pinned = null }) {
  const whole = (row) => keys.reduce((sum, key) => sum + Math.max(row[key], 0), 0);
  const total = rows.reduce((sum, row) => sum + whole(row), 0);
  const shown = rows.filter((row) => whole(row) > 2e-3 * total);
  const most = Math.max(...shown.map(whole), ...(pinned ? pinned.map(whole) : [0]));
  const nodes = shown.flatMap((row) => {
    const bar = el("span", { class: "bar" });
    keys.forEach((key, index) => {
      const part = el("i", { class: ["first", "second", "third"][index], title: `${key}: ${quantity(row[key], units)}` });
      part.style.width = `${(100 * Math.max(row[key], 0)) / most}%`;
      bar.append(part);
    });
    const before = pinned?.find((other) => other.name === row.name);
    if (before && Math.abs(whole(before) / whole(row) - 1) > 5e-4) {
      const tick = el("s", { title: `baseline: ${quantity(whole(before), units)}` });
      tick.style.left = `${(100 * whole(before)) / most}%`;
      bar.append(tick);
    }
    return [el("span", { class: "name", title: row.name }, row.name), bar, el("span", { class: "value" }, within(whole(row), total, units))];
  });
  place.replaceChildren(...nodes);
  return total;
}

const SHADES = { "matrix and vector units": 0.85, "on-chip memory": 0.45, "cells of weights": 0.62, "DRAM and link interfaces": 0.2 };
const SHORT = { "matrix and vector units": "compute", "on-chip memory": "SRAM", "cells of weights": "weight cells", "DRAM and link interfaces": "DRAM and links" };

/** One die to scale, its blocks by area, and its stacks beside it. */
export function drawDie(place, die, pinned) {
  const { width, height } = roomOf(place);
  const dies = Math.max(die.dies, 1);
  const side = Math.sqrt(die.die_area);
  const stacks = Math.round(die.stacks);
  const beside = die.beside && stacks > 0 && stacks / dies <= 24;
  const each = Math.ceil(stacks / dies / 2);
  const widest = Math.max(side, pinned ? Math.sqrt(pinned.die_area) : 0) * (beside ? 1.62 : 1.06);
  const scale = Math.min((width - 8) / widest, (height - 30) / (Math.max(side, pinned ? Math.sqrt(pinned.die_area) : 0) * 1.04));
  const s = side * scale, x0 = (width - s) / 2, y0 = (height - 22 - s) / 2 + 2;
  const nodes = [];
  const entries = Object.entries(die.parts).filter(([, area]) => area > 0);
  const total = entries.reduce((sum, [, area]) => sum + area, 0);
  const share = Object.fromEntries(entries.map(([name, area]) => [name, area / total]));
  const edge = (share["DRAM and link interfaces"] ?? 0) * s;
  const blocks = [];
  if (edge > 0) blocks.push(["DRAM and link interfaces", x0, y0, edge / 2, s], ["DRAM and link interfaces", x0 + s - edge / 2, y0, edge / 2, s]);
  let y = y0;
  for (const name of ["matrix and vector units", "cells of weights", "on-chip memory"]) {
    const h = ((share[name] ?? 0) * s * s) / (s - edge);
    if (h > 0) blocks.push([name, x0 + edge / 2, y, s - edge, h]);
    y += h;
  }
  for (const [name, x, top, w, h] of blocks) {
    const area = (die.parts[name] ?? 0) / dies;
    const rect = svg("rect", { x, y: top, width: w, height: h, fill: "var(--accent)", "fill-opacity": SHADES[name] ?? 0.3, stroke: "var(--card)", "stroke-width": 1.5 });
    rect.append(svg("title", {}, `${name}: ${quantity(area, AREA)} per die, ${percent(share[name])}`));
    nodes.push(rect);
    if (h > 26 && w > 60) {
      const light = (SHADES[name] ?? 0) > 0.5 ? "var(--card)" : "var(--ink)";
      const label = svg("text", { x: x + w / 2, y: top + h / 2 - 1, "text-anchor": "middle" }, SHORT[name]);
      const number = svg("text", { x: x + w / 2, y: top + h / 2 + 12, "text-anchor": "middle" }, quantity(area, AREA));
      for (const text of [label, number]) text.style.fill = light;
      nodes.push(label, number);
    }
  }
  nodes.push(svg("rect", { x: x0, y: y0, width: s, height: s, fill: "none", stroke: "var(--soft)", "stroke-width": 1 }));
  if (pinned && Math.abs(pinned.die_area / die.die_area - 1) > 1e-3) {
    const p = Math.sqrt(pinned.die_area) * scale;
    nodes.push(svg("rect", { x: (width - p) / 2, y: y0 + (s - p) / 2, width: p, height: p, fill: "none", stroke: "var(--ink)", "stroke-dasharray": "3 3", "stroke-width": 1 }));
  }
  if (beside) {
    const gap = 4, h = Math.min((s - gap * (each - 1)) / each, 0.36 * s), w = Math.min(0.24 * side * scale, (width - s) / 2 - 6);
    for (let i = 0; i < Math.ceil(stacks / dies); i++) {
      const right = i % 2, k = Math.floor(i / 2);
      const x = right ? x0 + s + 4 : x0 - w - 4;
      nodes.push(svg("rect", { x, y: y0 + (s - each * h - (each - 1) * gap) / 2 + k * (h + gap), width: w, height: h, rx: 2, fill: "var(--tint)", stroke: "var(--faint)" }));
    }
  }
  const words = `${dies > 1 ? `${digits(dies)} dies of ` : ""}${quantity(die.die_area, AREA)}, ${percent(die.die_area / die.reticle)} of a reticle`;
  nodes.push(svg("text", { x: width / 2, y: height - 4, "text-anchor": "middle" }, words));
  place.replaceChildren(svg("svg", { width, height, role: "img", "aria-label": `Die: ${words}` }, ...nodes));
}
