// How does a number read? Values in SI with a list of [unit, size in SI].

const LONG = 1e3;
const spaced = (text) => text.replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");

/** Index of the unit in which a value stays short. */
export function unitFor(value, units) {
  let chosen = 0;
  units.forEach(([, size], index) => {
    if (Math.abs(value) >= 0.9995 * size) chosen = index;
  });
  return value || units.length === 1 ? chosen : units.length - 1;
}

/** A pure number with three digits. */
export function digits(value, count = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size < 1e-12) return "0";
  if (size >= 1e7 || size < 1e-4)
    return value.toExponential(count - 1).replace("e+", "e").replace("-", "−");
  if (size >= LONG) return spaced(value.toFixed(0)).replace("-", "−");
  const text = value.toPrecision(count);
  return (text.includes(".") ? text.replace(/\.?0+$/, "") : text).replace("-", "−");
}

const PRINTED = { us: "µs", um: "µm", uJ: "µJ" };
const printed = (name) =>
  name.split("/").map((part) => PRINTED[part] ?? part).join("/").replace("^2", "²")
    .replace("USD", "$").replace(/token/, "tok");
const BARE = ["1", "bit", "token", "MAC"];

/** Number and unit of a value, as two texts. */
export function parts(value, units, count = 3) {
  if (value === null || value === undefined) return ["–", ""];
  if (value === 0) return ["0", ""];
  const [name, size] = units[unitFor(value, units)];
  return [digits(value / size, count), BARE.includes(name) ? "" : printed(name)];
}

/** A value with its unit. */
export function quantity(value, units, count = 3) {
  const [number, unit] = parts(value, units, count);
  return unit ? `${number}\u202f${unit}` : number;
}

/** A value as a number in the unit that suits another one. */
export function within(value, other, units) {
  return digits(value / units[unitFor(other, units)][1]);
}

/** The unit that suits a value. */
export const unitText = (value, units) => parts(value, units)[1];

/** A value as text that the server reads back. */
export function exact(value, units) {
  const [name, size] = units[unitFor(value, units)];
  const number = Number((value / size).toPrecision(8));
  return name === "1" ? `${number}` : `${number} ${name}`;
}

/** Relative change, such as −12 %. */
export function change(now, before) {
  if (now === null || before === null || !(before > 0)) return "";
  const share = now / before - 1;
  if (share >= 9) return `×${digits(now / before)}`;
  if (Math.abs(share) < 5e-4) return "±0 %";
  const text = (100 * share).toFixed(Math.abs(share) >= 0.1 ? 0 : 1);
  return `${share > 0 ? "+" : "−"}${text.replace("-", "")} %`;
}

/** An elasticity: change in percent for one percent more. */
export function slope(value) {
  if (value === null || value === undefined) return "–";
  if (Math.abs(value) < 5e-4) return "0";
  return `${value > 0 ? "+" : "−"}${Math.abs(value).toFixed(Math.abs(value) < 0.0995 ? 3 : 2)}`;
}

export const percent = (share, count = 0) => `${(100 * share).toFixed(count)} %`.replace("-", "−");

/** An element with attributes and children. */
export function el(name, given = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";
export function svg(name, given = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(given)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
