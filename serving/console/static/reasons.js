// Why an item is there: a bar of what each group adds, and the same in words and numbers.

import { h, number, quiet } from "./dom.js";
import { GROUPS, byGroup, partName } from "./groups.js";

/** A bar whose pieces are what speaks for the item, on a scale shared by the list. */
export function bar(reasons, widest) {
  const pieces = byGroup(reasons).filter((entry) => entry.amount > 0);
  return h("div", { class: "bar", "aria-hidden": "true" },
    pieces.map((entry) => h("i", { class: `g-${entry.group}`, title: GROUPS[entry.group].name, css: { "--w": `${(100 * entry.amount) / widest}%` } })));
}

/** Sum of what speaks for an item. */
export const positive = (reasons) => byGroup(reasons).reduce((sum, entry) => sum + Math.max(entry.amount, 0), 0);

/** Groups that appear in a list, as the key to its bars. */
export function legend(items) {
  const there = new Set(items.flatMap((item) => item.reasons.filter((r) => r.amount > 0).map((r) => (GROUPS[r.group] ? r.group : "other"))));
  return h("ul", { class: "legend", "aria-label": "What the bars are made of" },
    Object.keys(GROUPS).filter((name) => there.has(name)).map((name) => h("li", {}, h("i", { class: `g-${name}` }), GROUPS[name].name)));
}

/** Every addend of a score, by group, with the past events behind it. */
export function breakdown(item) {
  const rows = byGroup(item.reasons).sort((a, b) => b.amount - a.amount).flatMap((entry) =>
    entry.reasons.filter((reason) => Math.abs(reason.amount) >= 0.0005).map((reason) => h("tr", {},
      h("th", { scope: "row" }, h("i", { class: `g-${entry.group}` }), partName(reason.part)),
      h("td", { class: "n" }, signed(reason.amount)),
      h("td", {}, reason.events.map((event) => quiet(event.title)).join("; ")))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Score of ${quiet(item.title)}` },
    h("table", { class: "breakdown" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Part"), h("th", { scope: "col", class: "n" }, "Adds"), h("th", { scope: "col" }, "Because of"))),
      h("tbody", {}, rows),
      h("tfoot", {}, h("tr", {}, h("th", { scope: "row" }, "Score"), h("td", { class: "n" }, number(item.score, 3)), h("td", {}, "the sum, exactly")))));
}

const signed = (x) => `${x < 0 ? "−" : "+"}${number(Math.abs(x), 3)}`;
