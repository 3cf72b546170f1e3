// The left side: a slider, a box, a lock and a slope for every parameter.

import { el, exact, quantity, slope } from "./format.js";

const STEPS = 600;
const CLOSED = '<svg viewBox="0 0 12 20" fill="none" stroke="currentColor" stroke-width="1.3"><rect x="1.5" y="9" width="9" height="7" rx="1.2"/><path d="M3.5 9V6.8a2.5 2.5 0 0 1 5 0V9"/></svg>';
const OPEN = '<svg viewBox="0 0 12 20" fill="none" stroke="currentColor" stroke-width="1.3"><rect x="1.5" y="9" width="9" height="7" rx="1.2"/><path d="M3.5 9V6.2a2.5 2.5 0 0 1 4.9-.7"/></svg>';
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const rounded = (value, count) => Number(value.toPrecision(count));

/** Where a value stands on a slider, and which value stands at a place. */
class Scale {
  constructor(spec) { this.spec = spec; this.low = spec.low; this.high = spec.high; }

  /** Wide enough for the value at hand. */
  reach(value) {
    if (this.spec.choices.length || !(value > 0)) return;
    this.low = Math.min(this.spec.low, value);
    this.high = Math.max(this.spec.high, value);
  }

  get most() { return this.spec.choices.length ? this.spec.choices.length - 1 : STEPS; }

  place(value) {
    const { choices, log } = this.spec;
    if (choices.length) {
      const gaps = choices.map((c) => Math.abs(Math.log(c / value)));
      return gaps.indexOf(Math.min(...gaps));
    }
    const share = log
      ? Math.log(value / this.low) / Math.log(this.high / this.low)
      : (value - this.low) / (this.high - this.low);
    return Math.round(STEPS * clamp(share || 0, 0, 1));
  }

  value(place) {
    const { choices, log } = this.spec;
    if (choices.length) return choices[place];
    const share = place / STEPS;
    const raw = log ? this.low * (this.high / this.low) ** share : this.low + share * (this.high - this.low);
    return this.legal(raw, 3);
  }

  /** One step up or down from a value. */
  next(value, direction, far) {
    const { choices, log, step } = this.spec;
    if (choices.length) return choices[clamp(this.place(value) + direction, 0, this.most)];
    const share = far ? 0.1 : 0.01;
    let moved = log ? value * (1 + direction * share) : value + direction * share * (this.high - this.low);
    if (step && Math.abs(moved - value) < step) moved = value + direction * step;
    return this.legal(moved, 4);
  }

  legal(raw, count) {
    const { step } = this.spec;
    const inside = clamp(raw, this.low, this.high);
    if (!step) return rounded(inside, count);
    return clamp(step * Math.round(inside / step), step * Math.ceil(this.low / step), step * Math.floor(this.high / step));
  }
}

export class Sliders {
  /** `on` hears of moves, locks and which slider is looked at. */
  constructor(place, specs, on) {
    this.on = on;
    this.rows = new Map();
    for (const group of new Set(specs.map((s) => s.group))) {
      const own = specs.filter((s) => s.group === group);
      const section = el("section", { class: "group" });
      const heading = el("h2", {}, group, el("span", { class: "grow" }));
      const paths = own.filter((s) => s.searched).map((s) => s.path);
      if (paths.length) {
        heading.append(
          el("button", { onclick: () => on.lock(paths, false), title: `Unlock all of ${group}` }, "unlock all"),
          el("button", { onclick: () => on.lock(paths, true), title: `Lock all of ${group}` }, "lock all"),
        );
      }
      section.append(heading, ...own.map((spec) => this.row(spec)));
      place.append(section);
    }
  }

  row(spec) {
    const { path, title } = spec;
    const range = el("input", { type: "range", min: 0, "aria-label": title, "data-path": path });
    const box = el("input", { type: "text", "aria-label": `${title}, value with unit`, spellcheck: "false", tabindex: -1, "data-box": path });
    const lock = spec.searched
      ? el("button", { class: "lock", tabindex: -1, "data-lock": path, onclick: () => this.on.lock([path], lock.getAttribute("aria-pressed") === "false") })
      : el("span");
    const name = el("span", { class: "name", title: path }, title);
    const was = el("span", { class: "was" });
    const bar = el("i");
    const output = el("output", { "data-slope": path });
    const node = el(
      "div", { class: "slider" }, lock, name, box,
      el("div", { class: "track" }, el("div", { class: "rail" }, range, el("div", { class: "slope" }, bar, was)), output),
    );
    const scale = new Scale(spec);
    const row = { spec, scale, node, range, box, lock, name, bar, was, output, value: null };
    range.addEventListener("input", () => this.moved(row, scale.value(Number(range.value))));
    range.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); box.focus(); box.select(); }
      if (event.key === "l" && spec.searched) lock.click();
      const direction = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 1, PageDown: -1 }[event.key];
      if (!direction) return;
      event.preventDefault();
      this.moved(row, scale.next(row.value, direction, event.shiftKey || event.key.startsWith("Page")));
    });
    box.addEventListener("change", () => this.on.typed(path, box.value.trim()));
    box.addEventListener("keydown", (event) => { if (["Escape", "Enter"].includes(event.key)) { range.focus(); if (event.key === "Escape") this.show(row); } });
    for (const part of [range, box]) part.addEventListener("focus", () => this.on.focus(path));
    this.rows.set(path, row);
    return node;
  }

  moved(row, value) {
    if (value === row.value) return;
    row.value = value;
    this.show(row);
    this.on.moved(row.spec.path, exact(value, row.spec.units));
  }

  show(row) {
    const { spec, scale, value } = row;
    scale.reach(value);
    const text = quantity(value, spec.units, 4);
    row.range.max = scale.most;
    row.range.value = scale.place(value);
    row.range.disabled = spec.log && !(value > 0);
    row.range.setAttribute("aria-valuetext", text);
    if (document.activeElement !== row.box) row.box.value = text;
  }

  /** Values, slopes and marks of the baseline from an answer. */
  update({ values, elasticities }, { pinned, moved, better, signed, busy }) {
    const known = Object.values(elasticities).filter((e) => e !== null).map(Math.abs);
    const most = Math.max(1e-9, Math.min(1, Math.max(...known)));
    for (const [path, row] of this.rows) {
      if (path !== busy) row.value = values[path];
      row.node.classList.remove("wrong");
      this.show(row);
      row.name.classList.toggle("moved", moved.has(path));
      const e = elasticities[path];
      row.node.classList.toggle("unused", e === null || Math.abs(e) < 1e-12);
      row.output.textContent = signed && e !== null ? slope(e / 100) : slope(e);
      row.output.title = e === null ? "zero here, so without a relative change"
        : `1 % more changes the metric by ${slope(e)} ${signed ? "/ 100" : "%"}`;
      const share = clamp((e ?? 0) / most, -1, 1) / 2;
      row.bar.style.left = `${100 * Math.min(0.5, 0.5 + share)}%`;
      row.bar.style.width = `${100 * Math.abs(share)}%`;
      row.bar.className = !better || !e ? "" : e * better > 0 ? "good" : "bad";
      const before = pinned?.[path];
      row.was.hidden = before === undefined || before === values[path];
      if (!row.was.hidden) row.was.style.left = `${(100 * row.scale.place(before)) / row.scale.most}%`;
    }
  }

  locks(unlocked) {
    for (const [path, row] of this.rows) {
      if (!row.spec.searched) continue;
      const locked = !unlocked.has(path);
      row.lock.innerHTML = locked ? CLOSED : OPEN;
      row.lock.setAttribute("aria-pressed", locked);
      row.lock.setAttribute("aria-label", `${row.spec.title}: ${locked ? "locked" : "unlocked"}`);
      row.lock.title = locked ? "locked: steps and searches leave it" : "unlocked: steps and searches may move it";
    }
  }

  look(path) {
    for (const [other, row] of this.rows) row.node.classList.toggle("focus", other === path);
  }

  wrong(path) { this.rows.get(path)?.node.classList.add("wrong"); }
}
