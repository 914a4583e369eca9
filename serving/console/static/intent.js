// What a query was read as, in one line and a few chips.

import { h, leaf, percent } from "./dom.js";

const STAGES = { look_up: "looking up a known item", browse: "browsing", explore: "exploring", compare: "comparing", get_help: "asking for help" };

/** `said` is what was made of the words and of the shop's rules. */
export function intentCard(intent, said = []) {
  const facets = intent.facets || {};
  const chips = [
    ["Stage", STAGES[intent.stage] || intent.stage],
    ...(intent.categories || []).slice(0, 3).map((c) => ["Category", `${leaf(c.path)} ${percent(c.probability)}`]),
    ...(facets.brands || []).map((b) => ["Brand", b.brand]),
    ...(facets.price ? [["Price", price(facets.price)]] : []),
    ...(facets.attributes || []).map((a) => [String(a.name).replaceAll("_", " "), a.value]),
    ...(facets.models || []).map((model) => ["Model", model]),
  ].filter(([, value]) => value);
  return h("section", { class: "intent", "aria-labelledby": "intent-title" },
    h("h2", { id: "intent-title", class: "kicker" }, "Read as"),
    h("p", { class: "reading" }, intent.explanation),
    h("ul", { class: "chips" }, chips.map(([name, value]) => h("li", {}, h("span", { class: "quiet" }, `${name} `), String(value)))),
    said.length ? h("ul", { class: "told" }, said.map((line) => h("li", {}, line))) : null,
    h("div", { class: "gauges" }, gauge("Specific", intent.specificity), gauge("Sure", intent.confidence)));
}

function gauge(name, value) {
  return h("div", { class: "gauge", role: "img", "aria-label": `${name} ${percent(value)}` },
    h("span", {}, name), h("b", {}, h("i", { css: { "--w": `${value * 100}%` } })), h("span", { class: "n" }, percent(value)));
}

function price(band) {
  if (band.min && band.max) return `${band.min} to ${band.max}`;
  return band.max ? `up to ${band.max}` : band.min ? `from ${band.min}` : band.relative || band.text;
}
