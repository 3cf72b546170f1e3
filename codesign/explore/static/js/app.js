// Which answer belongs to which state? Asks, draws, and keeps the URL in step.

import { Refused, get, post, stream } from "./api.js";
import { drawBars, drawDie, drawRoofline } from "./charts.js";
import { change, digits, el, quantity, unitText, within } from "./format.js";
import { drawFront, drawSlice } from "./plots.js";
import { Sliders } from "./sliders.js";
import { Store, copyOf } from "./store.js";
import { Tiles, drawLimits } from "./tiles.js";

const $ = (id) => document.getElementById(id);
const SECONDS = [["ns", 1e-9], ["us", 1e-6], ["ms", 1e-3], ["s", 1]];
const QUIET = 120; // ms
const page = { answer: null, good: null, base: null, roof: null, slice: null, focus: null, front: null, chosen: null, running: null };
let store, sliders, tiles, metrics;

/* Messages */
function say(text, kind = "") {
  $("message").textContent = text;
  $("message").className = kind;
  $("message").title = text;
}
function complain(error) {
  if (error.name === "AbortError") return;
  const text = error instanceof Refused ? error.message : `The page failed: ${error.message}. Is the program still running?`;
  const line = text.replaceAll("\n", "  ·  ").replace(/^design {2}/, "");
  say(line, "error");
  const path = [...sliders.rows.keys()].find((each) => text.includes(each));
  if (path) sliders.wrong(path);
}

/* Evaluation: one request at a time, the newest state next, older ones dropped */
let wanted = 0, shown = 0, asking = false, since = 0, later = null;
function changed({ push = false } = {}) {
  wanted += 1;
  document.body.dataset.settled = 0;
  since = since || performance.now();
  remember(push);
  later?.abort();
  if (!asking) requestAnimationFrame(evaluate);
}
async function evaluate() {
  if (asking) return;
  asking = true;
  while (shown < wanted) {
    const asked = wanted, from = since;
    since = 0;
    try {
      const state = copyOf(store.state);
      page.answer = await post("evaluate", store.asked());
      page.good = state;
      document.body.classList.remove("stale");
      draw();
      performance.measure("slider-to-number", { start: from, end: performance.now() });
      if (!page.running && $("message").className === "error") say("");
      if (asked > 1) $("latency").textContent = `${Math.round(performance.now() - from)} ms from slider to number`;
    } catch (error) {
      document.body.classList.add("stale");
      complain(error);
      if (page.good && asked === wanted) { store.state = copyOf(page.good); remember(false); }
    }
    shown = asked;
  }
  asking = false;
  afterwards();
}
/** What may lag behind: roofline, slice, and numbers of the baseline. */
async function afterwards() {
  later = new AbortController();
  const { signal } = later;
  try {
    await quiet(signal);
    page.base = await baseline(signal);
    drawPictures();
    page.roof = await post("roofline", store.asked(), signal);
    drawRoofline($("roofline"), page.roof);
    await sliceAlong(signal);
    document.body.dataset.settled = wanted;
  } catch (error) { if (error.name !== "AbortError" && !document.body.classList.contains("stale")) complain(error); }
}
/** A moment without a new move. */
const quiet = (signal) => new Promise((done, fail) => {
  const timer = setTimeout(done, QUIET);
  signal.addEventListener("abort", () => { clearTimeout(timer); fail(signal.reason); });
});
let basePin = "";
async function baseline(signal) {
  const pinned = JSON.stringify(store.pin);
  if (pinned === basePin && page.base) return page.base;
  const found = await post("evaluate", store.asked({ state: store.pin }), signal);
  basePin = pinned;
  return found;
}
async function sliceAlong(signal) {
  const path = page.focus ?? "chip.dram.bandwidth";
  if (!sliders.rows.has(path) || $("view-explore").hidden) return;
  page.slice = await post("slice", store.asked({ path }), signal);
  drawSliceNow();
}

/* Drawing */
const metricOf = (path) => metrics.find((m) => m.path === path);
function draw() {
  const { answer } = page, metric = metricOf(store.of);
  tiles.update(answer.metrics, { of: store.of, quality: answer.quality, stack: answer.stack });
  sliders.update(answer, {
    pinned: page.base?.values, moved: new Set(Object.keys(store.state.values)),
    better: metric.better, signed: metric.signed, busy: null,
  });
  drawLimits($("limits"), answer.limits, { texts: store.limits, change: editLimits });
  $("of").value = store.of;
  const now = answer.metrics[store.of];
  $("of-value").textContent = metric.tile ? "" : `${quantity(now.value, metric.units)} ${change(now.value, now.pinned)}`;
  drawPictures();
}
function drawPictures() {
  const { answer, base } = page;
  if (!answer) return;
  const joules = metricOf("energy_per_token").units;
  const energy = drawBars($("energy"), answer.energy, { units: joules, keys: ["decode", "prefill", "server"], pinned: base?.energy });
  key("energy-words", `${quantity(energy, joules)}`, ["first", "decode"], ["second", "prefill"], ["third", "host"]);
  const time = drawBars($("time"), answer.time, { units: SECONDS, keys: ["decode"], pinned: base?.time });
  const prompt = answer.time.reduce((sum, row) => sum + row.prompt, 0);
  key("time-words", `decode ${quantity(time, SECONDS)} · prompt ${quantity(prompt, SECONDS)}`);
  drawDie($("die"), answer.die, base?.die);
  const use = (answer.memory.weights + answer.memory.kv) / answer.memory.available;
  $("die-words").textContent = `memory ${Math.round(100 * use)} % full`;
}
/** Words of a caption, with swatches. */
function key(id, text, ...marks) {
  $(id).replaceChildren(text, ...marks.flatMap(([shade, word]) => [" ", el("i", { class: `swatch ${shade}` }), ` ${word}`]));
}
function drawSliceNow() {
  const { slice, answer } = page;
  if (!slice) return;
  const { spec } = sliders.rows.get(slice.path);
  const metric = metricOf(slice.of);
  const words = drawSlice($("slice"), slice, { slider: spec, metric, now: answer.metrics[slice.of].value, slope: answer.elasticities[slice.path] });
  $("slice-title").textContent = `${spec.title}${words?.x ? ` [${words.x}]` : ""}`;
  $("slice-words").textContent = `→ ${metric.title}${words?.y ? ` [${words.y}]` : ""}`;
  $("slice-words").title = `${metric.words}; dashed: the tangent that the slope gives`;
}

/* State */
function remember(push) {
  const hash = store.hash();
  const url = hash ? `#${hash}` : location.pathname;
  if (push) history.pushState(null, "", url);
  else history.replaceState(null, "", url);
}
function load(state, text) {
  store.state = copyOf(state);
  showNames();
  changed({ push: true });
  if (text) say(text);
}
function showNames() {
  const { own } = store.catalogue;
  for (const name of ["chip", "model", "stack"]) $(name).value = store.state[name] || (name === "stack" ? "" : store.state.source ? "" : own[name]);
}
function choose(name, value) {
  const own = { chip: ["chip.", "deployment.power_limit", "deployment.decode_voltage", "deployment.prefill_voltage"], model: ["model."], stack: [] }[name];
  const values = Object.entries(store.state.values).filter(([path]) => !own.some((p) => path.startsWith(p)));
  const chosen = value === store.catalogue.own[name] && !store.state.source ? "" : value;
  load({ ...store.state, [name]: chosen, values: Object.fromEntries(values) }, `${{ chip: "Chip", model: "Model", stack: "Software" }[name]}: ${$(name).selectedOptions[0].textContent}.`);
}
function moved(path, text) {
  store.state.values[path] = text;
  if (!page.running) say("");
  page.chosen = null;
  changed();
}
function lock(paths, closed) {
  for (const path of paths) closed ? store.unlocked.delete(path) : store.unlocked.add(path);
  sliders.locks(store.unlocked);
  remember(false);
}
async function editLimits(texts) {
  const before = store.limits;
  store.limits = texts;
  try {
    page.answer = await post("evaluate", store.asked());
    draw();
    remember(true);
    say("");
  } catch (error) { store.limits = before; complain(error); }
}
function chooseMetric(path) {
  store.of = path;
  changed();
}
function focus(path) {
  page.focus = path;
  sliders.look(path);
  if (asking) return;
  if (page.roof) sliceAlong(later?.signal).catch(complain);
}

/* Steps and searches */
async function busy(text, work) {
  if (page.running) return;
  page.running = new AbortController();
  for (const id of ["step", "optimise", "trace"]) $(id).disabled = true;
  $("stop").hidden = false;
  say(text, "busy");
  try { await work(page.running.signal); }
  catch (error) { error.name === "AbortError" ? say("Stopped; the design is as it was.") : complain(error); }
  page.running = null;
  for (const id of ["step", "optimise", "trace"]) $(id).disabled = false;
  $("stop").hidden = true;
}
const fromTo = (found) => { const { units } = metricOf(store.of); return `${quantity(found.before, units)} → ${quantity(found.after, units)}`; };
const takeStep = () => busy("taking a gradient step", async (signal) => {
  const found = await post("step", store.asked(), signal);
  if (!found.moved) { say(found.text); return; }
  load(found.state, `Step: ${fromTo(found)}   (${found.text})`);
});
const optimise = () => busy("searching", async (signal) => {
  const began = performance.now();
  const tell = (line) => say(`${line}   (${Math.round((performance.now() - began) / 1000)} s)`, "busy");
  const found = await stream("optimise", store.asked(), { tell, signal });
  if (found.feasible) load(found.state, `Found: ${fromTo(found)}; ${found.text}`);
  else say(found.text, "error");
});
const trace = () => busy("tracing the front", async (signal) => {
  const began = performance.now();
  const tell = (line) => say(`${line.replace(/best \S+/, "")}   (${Math.round((performance.now() - began) / 1000)} s)`, "busy");
  const asked = store.asked({ x: $("pareto-x").value, points: Number($("pareto-points").value) });
  page.front = await stream("pareto", asked, { tell, signal });
  page.chosen = null;
  drawFrontNow();
  say(page.front.points.length ? `${page.front.points.length} designs that no other beats. Click one to load it.` : "No design keeps all limits.");
});

/* Pareto and runs */
function drawFrontNow() {
  if ($("view-pareto").hidden || !page.answer) return;
  const front = page.front ?? { x: $("pareto-x").value, y: store.of, points: [] };
  const [x, y] = [metricOf(front.x), metricOf(front.y)];
  if (!x || !y) { say(`This front is of ${front.x} and ${front.y}, which the page does not show.`, "error"); return; }
  $("pareto-y").textContent = metricOf(store.of).title;
  const spot = (side) => ({ x: page.answer.metrics[front.x][side], y: page.answer.metrics[front.y][side] });
  drawFront($("front"), front.points, { x, y, here: spot("value"), base: spot("pinned"), chosen: page.chosen, choose: choosePoint });
  const [first] = front.points;
  const heading = (metric, value) => el("span", {}, `${metric.title} [${unitText(value, metric.units) || "1"}]`);
  $("front-head").replaceChildren(...(first ? [el("b", {}, ""), heading(x, first.x), heading(y, first.y)] : []));
  $("front-list").replaceChildren(...front.points.map((p, i) =>
    el("li", {}, el("button", { "aria-current": i === page.chosen, onclick: () => choosePoint(i) },
      el("b", {}, `${i + 1}`), el("span", {}, within(p.x, first.x, x.units)), el("span", {}, within(p.y, first.y, y.units))))));
}
function choosePoint(index) {
  page.chosen = index;
  load(page.front.points[index].state, `Design ${index + 1} of the front is in the sliders.`);
  drawFrontNow();
}
async function showRuns() {
  try {
    const { runs } = await get("runs");
    $("runs-words").textContent = runs.length ? `${runs.length}` : "none yet: codesign optimize writes them into runs/";
    const head = el("tr", {}, ...["run", "kind", "minimises", "best", "state"].map((t) => el("th", {}, t)));
    const rows = runs.map((run) => {
      const metric = metricOf(run.minimize);
      const best = typeof run.best === "number" ? (metric ? quantity(run.best, metric.units) : digits(run.best)) : "–";
      const name = run.opens ? el("button", { onclick: () => openRun(run.run) }, run.run) : run.run;
      const state = run.feasible === false ? "infeasible" : (run.status ?? "").split(";")[0].slice(0, 40);
      return el("tr", {}, el("td", {}, name), el("td", {}, run.kind ?? ""), el("td", {}, metric?.title ?? run.minimize ?? ""), el("td", {}, best), el("td", {}, state));
    });
    $("runs").replaceChildren(head, ...rows);
  } catch (error) { complain(error); }
}
async function openRun(name) {
  try {
    const found = await get(`runs/${encodeURIComponent(name)}`);
    $("run-title").textContent = name;
    if (found.points) {
      $("run").replaceChildren(el("p", {}, `A front of ${found.points.length} designs.`),
        el("div", { class: "row" }, el("button", { class: "primary", onclick: () => { page.front = found; page.chosen = null; showTab("pareto"); } }, "show it under Pareto")));
      return;
    }
    const shownMetrics = metrics.filter((m) => m.tile && found.rungs.some((r) => m.path in r.metrics));
    const table = el("table", {}, el("tr", {}, el("th", {}, ""), ...found.rungs.map((r) => el("th", { class: "num" }, r.name))),
      ...shownMetrics.map((m) => el("tr", {}, el("td", {}, `${m.title} `, el("span", { class: "faint" }, unitText(found.rungs[0].metrics[m.path], m.units))),
        ...found.rungs.map((r) => el("td", { class: "num" }, within(r.metrics[m.path], found.rungs[0].metrics[m.path], m.units))))));
    $("run").replaceChildren(el("p", {}, found.status ?? ""), table,
      el("div", { class: "row" },
        el("button", { class: "primary", onclick: () => { load(found.state, `The best design of ${name} is in the sliders.`); showTab("explore"); } }, "load the best design"),
        el("button", { onclick: () => { store.pin = copyOf(found.state); changed({ push: true }); say(`The best design of ${name} is the baseline.`); } }, "make it the baseline")));
  } catch (error) { complain(error); }
}
function showTab(name) {
  store.tab = name;
  for (const each of ["explore", "pareto", "runs"]) {
    $(`view-${each}`).hidden = each !== name;
    $(`tab-${each}`).setAttribute("aria-selected", each === name);
    $(`tab-${each}`).tabIndex = each === name ? 0 : -1;
  }
  remember(false);
  if (name === "pareto") drawFrontNow();
  if (name === "runs") showRuns();
  if (name === "explore" && page.roof) redraw();
}

/* Copying, themes, keys */
async function copy(form) {
  try {
    const text = form === "link" ? location.href : await post("export", store.asked({ form }));
    try { await navigator.clipboard.writeText(text); }
    catch { showText(text); return; }
    say(`Copied: ${form === "link" ? location.href : `${form}, ${text.split("\n").length - 1} lines`}.`);
  } catch (error) { complain(error); }
}
function showText(text) {
  const box = $("text").querySelector("textarea");
  box.value = text;
  $("text").showModal();
  box.select();
}
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  try { localStorage.setItem("theme", name); } catch { /* a page without storage keeps the system's */ }
  redraw();
}
function redraw() {
  drawPictures();
  if (page.roof) drawRoofline($("roofline"), page.roof);
  if (!$("view-explore").hidden) drawSliceNow();
  drawFrontNow();
}
const pinHere = () => { store.pin = copyOf(store.state); changed({ push: true }); say("Changes now count from this design."); };
const reset = () => load(copyOf(store.pin), "Back at the baseline.");
const KEYS = { b: pinHere, r: reset, g: takeStep, o: optimise };
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=text], input[type=number], select")) return;
  if (KEYS[event.key]) { event.preventDefault(); KEYS[event.key](); }
  if (event.key === "Escape") page.running?.abort();
}

/* Beginning */
function build(catalogue) {
  store = new Store(catalogue);
  metrics = catalogue.metrics;
  sliders = new Sliders($("sliders"), catalogue.sliders, { moved, typed: (path, text) => moved(path, text), lock, focus });
  tiles = new Tiles($("tiles"), metrics, chooseMetric);
  const options = (id, list) => $(id).append(...list.map(([value, text]) => el("option", { value }, text)));
  const own = (name, list) => (catalogue.own[name] && list.some(([v]) => v === catalogue.own[name]) ? list : [[catalogue.own[name], catalogue.own[name] || "as in the file"], ...list]);
  options("chip", [["", "as in the run"], ...own("chip", catalogue.chips.map((c) => [c.name, c.name]))]);
  options("model", [["", "as in the run"], ...own("model", catalogue.models.map((m) => [m, m]))]);
  options("stack", [["", "the chip's own"], ...catalogue.stacks.map((s) => [s, s])]);
  options("of", metrics.map((m) => [m.path, m.title]));
  options("pareto-x", metrics.filter((m) => !m.signed && m.better < 0).map((m) => [m.path, m.title]));
  $("pareto-x").value = "time_per_output_token";
  for (const name of ["chip", "model", "stack"]) $(name).addEventListener("change", () => choose(name, $(name).value));
  $("of").addEventListener("change", () => chooseMetric($("of").value));
  $("pareto-x").addEventListener("change", () => { page.front = null; drawFrontNow(); });
  const clicks = { pin: pinHere, reset, step: takeStep, optimise, trace, stop: () => page.running?.abort() };
  for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);
  key("roof-key", "", ["first round", "decode"], ["hollow", "prompt, size by time"]);
  buildTabs();
  buildMenu();
  $("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  document.addEventListener("keydown", onKey);
  addEventListener("popstate", restore);
  new ResizeObserver(() => page.answer && redraw()).observe($("view-explore"));
  restore();
}
function buildTabs() {
  const names = ["explore", "pareto", "runs"];
  for (const [index, name] of names.entries()) {
    $(`tab-${name}`).addEventListener("click", () => showTab(name));
    $(`tab-${name}`).addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const next = names[(index + by + names.length) % names.length];
      showTab(next);
      $(`tab-${next}`).focus();
    });
  }
}
function buildMenu() {
  const list = document.querySelector(".menu-list");
  const open = (yes) => { list.hidden = !yes; $("copy").setAttribute("aria-expanded", yes); if (yes) list.firstElementChild.focus(); };
  $("copy").addEventListener("click", () => open(list.hidden));
  for (const item of list.children) item.addEventListener("click", () => { open(false); copy(item.dataset.copy); });
  list.addEventListener("keydown", (event) => {
    const items = [...list.children], at = items.indexOf(document.activeElement);
    if (event.key === "Escape") { open(false); $("copy").focus(); event.stopPropagation(); }
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) { event.preventDefault(); items[(at + by + items.length) % items.length].focus(); }
  });
  document.addEventListener("click", (event) => { if (!event.target.closest(".menu")) open(false); });
}
function restore() {
  store.read(location.hash);
  sliders.locks(store.unlocked);
  showNames();
  showTab(store.tab);
  changed();
}
function firstTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let kept = null;
  try { kept = localStorage.getItem("theme"); } catch { /* as above */ }
  document.documentElement.dataset.theme = kept ?? (dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => { if (kept === null) { document.documentElement.dataset.theme = dark.matches ? "dark" : "light"; redraw(); } });
}
async function start() {
  firstTheme();
  const began = performance.now();
  const clock = setInterval(() => { $("start-time").textContent = `${Math.round((performance.now() - began) / 1000)} s; the next start reads the compiled program from disk`; }, 500);
  try {
    const catalogue = await stream("start", null, { tell: (line) => { $("start-text").textContent = line; } });
    build(catalogue);
    $("start").hidden = true;
  } catch (error) {
    $("start").classList.add("failed");
    $("start-text").textContent = error.message;
  }
  clearInterval(clock);
}
start();
