// A shopper's interests over time: a row for each, all on one scale and one time axis, and under them what they did.

import { count, h, percent, quiet, s } from "./dom.js";

const WIDE = 600, TALL = 30;

/** The drawing for /console/portrait's `timeline`; `outs` are muted names. */
export function timelineCard(timeline, outs = []) {
  const { days, lines, did } = timeline;
  if (!days.length) return h("section", { class: "card", "aria-labelledby": "time-title" }, h("h2", { id: "time-title" }, "Over time"), h("p", { class: "quiet" }, "Nothing has happened yet, or this shop’s events carry no times."));
  const top = Math.max(0.05, ...lines.flatMap((line) => line.share));
  const shown = lines.slice(0, 6);
  return h("section", { class: "card time", "aria-labelledby": "time-title" },
    h("h2", { id: "time-title" }, "Over time"),
    h("p", { class: "quiet" }, `The share of each interest, as it was on every day; what they did counts half after ${count(Math.round(timeline.half_life_days), "day")}.`),
    h("div", { class: "rows" },
      shown.map((line) => row(line, top, outs.includes(line.name))),
      did_(did, days)),
    h("div", { class: "axis", "aria-hidden": "true" }, [...new Set([days[0], days[Math.floor(days.length / 2)], days.at(-1)].map(month))].map((day) => h("span", {}, day))));
}

const month = (day) => new Date(`${day}T00:00:00Z`).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

function row(line, top, out) {
  const now = line.share.at(-1), most = Math.max(...line.share);
  const x = (k) => (k * WIDE) / Math.max(line.share.length - 1, 1);
  const y = (share) => TALL - 1 - (share / top) * (TALL - 3);
  const points = line.share.map((share, k) => `${x(k).toFixed(1)},${y(share).toFixed(1)}`).join(" L");
  return h("div", { class: out ? "row-line out" : "row-line", role: "img", "aria-label": `${line.name}: ${percent(now)} now, at most ${percent(most)}${out ? ", muted" : ""}` },
    h("span", { class: "name", title: quiet(line.name) }, quiet(line.name)),
    s("svg", { viewBox: `0 0 ${WIDE} ${TALL}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      s("path", { class: "area", d: `M0,${TALL} L${points} L${WIDE},${TALL} Z` }),
      s("path", { class: "line", d: `M${points}` })),
    h("span", { class: "n" }, percent(now)));
}

/** Bars of how much was done between two moments. */
function did_(did, days) {
  const kinds = Object.keys(did);
  const sums = days.map((_, k) => kinds.reduce((sum, kind) => sum + did[kind][k], 0));
  const top = Math.max(1, ...sums), wide = WIDE / days.length;
  const total = sums.reduce((a, b) => a + b, 0);
  const said = kinds.map((kind) => `${did[kind].reduce((a, b) => a + b, 0).toLocaleString("en")} ${kind}`).join(", ");
  return h("div", { class: "row-line did", role: "img", "aria-label": `What they did: ${said}` },
    h("span", { class: "name" }, "Events"),
    s("svg", { viewBox: `0 0 ${WIDE} ${TALL}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      sums.map((sum, k) => s("rect", { x: (k * wide + 1).toFixed(1), width: Math.max(wide - 2, 1).toFixed(1), y: (TALL - (sum / top) * TALL).toFixed(1), height: ((sum / top) * TALL).toFixed(1) }))),
    h("span", { class: "n" }, total.toLocaleString("en")));
}
