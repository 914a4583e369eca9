// Elements made from text, never from markup, so nothing a shop or a shopper wrote can become code.

const SVG = "http://www.w3.org/2000/svg";

/** An element: attributes by name, `on` for listeners, `css` for custom properties; children are nodes or text. */
export function h(tag, given = {}, ...children) {
  return fill(document.createElement(tag), given, children);
}

/** The same for a drawing. */
export function s(tag, given = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), given, children);
}

function fill(element, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, run] of Object.entries(value)) element.addEventListener(event, run);
    else if (name === "css") for (const [key, is] of Object.entries(value)) element.style.setProperty(key, is);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Draw anew without taking the keyboard from where it was: what has the same `data-at` or id gets the focus again. */
export function keepFocus(root, draw, otherwise = null) {
  const was = root.contains(document.activeElement) ? document.activeElement : null;
  const at = was?.dataset.at || null, id = was?.id || null;
  draw();
  if (!was || was.isConnected) return;
  const now = (at && root.querySelector(`[data-at="${CSS.escape(at)}"]`)) || (id && byId(id)) || (otherwise && root.querySelector(otherwise));
  now?.focus({ preventScroll: true });
}

/** Say something to those who listen instead of look. */
export function announce(text) {
  const place = byId("said");
  place.textContent = "";
  setTimeout(() => { place.textContent = text; }, 30);
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export const percent = (share) => `${share >= 0.0995 || share === 0 ? Math.round(share * 100) : (share * 100).toFixed(1)}%`;

export const count = (n, one, many = `${one}s`) => `${Number(n).toLocaleString("en")} ${n === 1 ? one : many}`;

export const number = (x, digits = 2) => (x === null || x === undefined ? "–" : Number(x).toLocaleString("en", { maximumFractionDigits: digits }));

/** A title to read: one that shouts is lowered, and it begins with a capital. */
export function quiet(title) {
  const text = String(title);
  const calmer = text === text.toUpperCase() && /[A-Z]{3}/.test(text) ? text.toLowerCase() : text;
  return calmer.charAt(0).toUpperCase() + calmer.slice(1);
}

let currency = null;
export const setCurrency = (code) => { currency = code; };

/** A price in the shop's money. */
export function price(amount) {
  if (amount === null || amount === undefined) return null;
  try {
    if (currency) return new Intl.NumberFormat("en", { style: "currency", currency }).format(amount);
  } catch { /* a code that is none */ }
  return number(amount);
}

/** The last step of a category path. */
export const leaf = (path) => (path ? quiet(path.split(" > ").at(-1)) : "");

/** The category of an item where its title does not say it already. */
export const kind = (item) => (quiet(item.title).startsWith(leaf(item.category)) ? "" : leaf(item.category));

/** Bytes for people. */
export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(n, 1)) / 3)));
  return `${(n / 1000 ** step).toFixed(step && n / 1000 ** step < 100 ? 1 : 0)} ${units[step]}`;
}

/** A name nobody else has; also where the page came over plain HTTP and has no randomUUID. */
export function fresh() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");
}
