// What has the user set? One object, written to and read from the URL's hash.

const NAMES = ["chip", "model", "stack", "source"];
const same = (a, b) => a.length === b.length && a.every((value, index) => value === b[index]);

export const blank = () => ({ chip: "", model: "", stack: "", source: "", values: {} });
export const copyOf = (state) => ({ ...state, values: { ...state.values } });

export class Store {
  constructor(catalogue) {
    this.catalogue = catalogue;
    this.free = catalogue.sliders.filter((s) => s.unlocked).map((s) => s.path);
    this.clear();
  }

  clear() {
    this.state = blank();
    this.pin = blank();
    this.of = this.catalogue.minimize;
    this.unlocked = new Set(this.free);
    this.limits = [...this.catalogue.limits];
    this.tab = "explore";
  }

  /** The request that all questions share. */
  asked(more = {}) {
    return {
      state: this.state, pin: this.pin, of: this.of,
      limits: this.limits, unlocked: [...this.unlocked], ...more,
    };
  }

  hash() {
    const found = stateWords(this.state);
    if (this.of !== this.catalogue.minimize) found.set("of", this.of);
    if (this.tab !== "explore") found.set("tab", this.tab);
    const open = this.catalogue.sliders.map((s) => s.path).filter((p) => this.unlocked.has(p));
    if (!same(open, this.free)) found.set("unlocked", open.join(","));
    if (!same(this.limits, this.catalogue.limits)) found.set("limits", this.limits.join(";"));
    const pinned = stateWords(this.pin).toString();
    if (pinned) found.set("baseline", pinned);
    return found.toString().replaceAll("%2F", "/").replaceAll("%2C", ",");
  }

  read(hash) {
    this.clear();
    const given = new URLSearchParams(hash.replace(/^#/, ""));
    const take = (name) => { const text = given.get(name); given.delete(name); return text; };
    const of = take("of");
    if (this.catalogue.metrics.some((m) => m.path === of)) this.of = of;
    const tab = take("tab");
    if (["explore", "pareto", "runs"].includes(tab)) this.tab = tab;
    const open = take("unlocked");
    if (open !== null) this.unlocked = new Set(open.split(",").filter(Boolean));
    const limits = take("limits");
    if (limits !== null) this.limits = limits.split(";").filter(Boolean);
    const pinned = take("baseline");
    if (pinned) this.pin = readState(new URLSearchParams(pinned));
    this.state = readState(given);
  }
}

function stateWords(state) {
  const found = new URLSearchParams();
  for (const name of NAMES) if (state[name]) found.set(name, state[name]);
  for (const [path, text] of Object.entries(state.values)) found.set(path, text);
  return found;
}

function readState(given) {
  const state = blank();
  for (const [key, text] of given) {
    if (NAMES.includes(key)) state[key] = text;
    else state.values[key] = text;
  }
  return state;
}
