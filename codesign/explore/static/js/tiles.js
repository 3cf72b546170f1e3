// Headline numbers with intervals and changes, and the limits under them.

import { change, digits, el, parts, percent, within } from "./format.js";

export class Tiles {
  constructor(place, metrics, choose) {
    this.rows = new Map();
    const shown = metrics.filter((m) => m.tile);
    for (const metric of shown) {
      const value = el("span", { class: "value", "data-metric": metric.path });
      const delta = el("span", { class: "change" });
      const range = el("span", { class: "range" });
      const node = el(
        "button",
        { class: "tile", role: "radio", title: `${metric.words}. Choose it to see its slopes.`, onclick: () => choose(metric.path) },
        el("b", {}, metric.title), value, range, delta,
      );
      node.addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!by) return;
        const next = shown[(shown.indexOf(metric) + by + shown.length) % shown.length];
        choose(next.path);
        this.rows.get(next.path).node.focus();
      });
      place.append(node);
      this.rows.set(metric.path, { metric, node, value, delta, range });
    }
  }

  update(found, { of, quality, stack }) {
    for (const [path, row] of this.rows) {
      const { metric } = row;
      const now = found[path];
      row.node.setAttribute("aria-checked", path === of);
      row.node.tabIndex = path === of || (!this.rows.has(of) && path === [...this.rows.keys()][0]) ? 0 : -1;
      const [number, unit] = metric.signed ? [signed(now.value), ""] : parts(now.value, metric.units);
      row.value.replaceChildren(number, unit ? el("small", {}, unit) : "");
      row.range.textContent = "";
      if (path === "quality.gap") this.quality(row, now, quality);
      else this.plain(row, now, stack);
    }
  }

  plain(row, now, stack) {
    const { metric } = row;
    row.delta.textContent = change(now.value, now.pinned);
    const by = now.value - now.pinned;
    const tone = !metric.better || Math.abs(by) < 5e-4 * Math.abs(now.pinned) ? "" : by * metric.better > 0 ? "good" : "bad";
    row.delta.className = `change ${tone}`;
    if (now.low === null) return;
    row.range.textContent = `${within(now.low, now.value, metric.units)} – ${within(now.high, now.value, metric.units)}`;
    row.range.title = `80 % interval of measurements on ${stack}`;
  }

  quality(row, now, quality) {
    if (!quality) { row.delta.textContent = "training tokens unknown"; row.delta.className = "change"; return; }
    if (now.value === 0 && now.low === now.high) { row.delta.textContent = "the reference"; row.delta.className = "change"; return; }
    row.range.textContent = `${signed(now.low)} – ${signed(now.high)}`;
    row.range.title = "5 to 95 % over the draws of the law's constants";
    const outside = quality.outside.length > 0;
    row.delta.textContent = outside ? "outside evidence" : `${percent(quality.chance)} no worse`;
    row.delta.title = outside ? quality.outside.join(", ") : "chance to be no worse than the reference";
    row.delta.className = `change ${outside || quality.chance < 0.5 ? "bad" : ""}`;
  }
}

/** A difference that may be tiny: decimals instead of digits. */
function signed(value) {
  if (value === null) return "–";
  const text = Math.abs(value) < 0.05 ? value.toFixed(4) : value.toFixed(3);
  return Number(text) ? text.replace("-", "−") : "0";
}

const NEAR = -0.03;
const WATCHED = ["memory", "power density", "reticle"];
const SHORT = { time_per_output_token: "TPOT", time_to_first_token: "TTFT", usd_per_token: "price", energy_per_token_server: "energy, server", energy_per_token: "energy", "chip.area": "chip area", "quality.gap": "quality gap" };
const shortened = (text) => Object.entries(SHORT).reduce((t, [long, short]) => (t.startsWith(`${long} `) ? t.replace(long, short) : t), text).replace("<=", "≤").replace(">=", "≥");

/** Pills of the limits asked for, and of those always on that bind or break. */
export function drawLimits(place, uses, { texts, change: edit }) {
  const typed = place.querySelector("input")?.value ?? "";
  const typing = document.activeElement === place.querySelector("input");
  const shown = uses.filter((u) => u.asked || u.broken || (WATCHED.includes(u.title) && u.excess > NEAR));
  const pills = shown.slice(0, 12).map((use) => {
    const share = use.excess === null ? Infinity : use.difference ? null : Math.exp(use.excess);
    const label = share === null ? signed(use.excess) : share > 9 ? "≫" : percent(share);
    const fill = el("span", { class: "fill" });
    fill.style.width = `${Math.min(100, 100 * (share ?? (use.broken ? 1 : 0)))}%`;
    const index = texts.indexOf(use.title);
    return el(
      "span",
      { class: `limit ${use.broken ? "broken" : ""} ${use.asked ? "" : "always"}`, title: `${use.title}${use.asked ? "" : " (always on)"}: ${use.broken ? "broken" : "kept"}` },
      shortened(use.title), el("b", {}, label), fill,
      use.asked && index >= 0
        ? el("button", { "aria-label": `drop ${use.title}`, onclick: () => edit(texts.filter((_, i) => i !== index)) }, "×")
        : null,
    );
  });
  const input = el("input", { type: "text", placeholder: "+ limit: power <= 500 W", "aria-label": "Add a limit", spellcheck: "false" });
  input.value = typed;
  input.addEventListener("change", () => {
    const text = input.value.trim();
    if (!text) return;
    input.value = "";
    edit([...texts, text]);
  });
  place.replaceChildren(...pills, input);
  if (typing) input.focus();
}
