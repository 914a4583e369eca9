// The third view: what is served, how it is indexed and embedded, how the store and the answers do.

import { call } from "./api.js";
import { bytes, h, number, quiet } from "./dom.js";
import { partName } from "./groups.js";

const EVERY_MS = 5000;

export function healthView(root) {
  let stopped = false, timer = 0;
  const draw = async () => {
    const busy = document.hidden || (root.contains(document.activeElement) && document.activeElement !== root);
    if (busy && root.querySelector(".cards")) { // nobody looks, or somebody reads: nothing is taken away
      timer = setTimeout(draw, EVERY_MS);
      return;
    }
    try {
      const [state, metrics] = await Promise.all([call("/console/health"), call("/metrics").catch(() => "")]);
      if (!stopped) root.replaceChildren(...page(state, traffic(metrics)));
    } catch (error) {
      if (!stopped) root.replaceChildren(h("h1", {}, "Health"), h("p", { class: "wrong", role: "alert" }, error.message));
    }
    if (!stopped) timer = setTimeout(draw, EVERY_MS);
  };
  root.replaceChildren(h("h1", {}, "Health"), h("p", { class: "quiet", role: "status" }, "Asking."));
  draw();
  return () => { stopped = true; clearTimeout(timer); };
}

function page(state, routes) {
  const { catalogue, index, encoder, quality, store } = state;
  const well = state.failures === 0 && store.lost === 0;
  const cache = encoder.known_queries;
  return [
    h("h1", {}, "Health"),
    h("p", { class: well ? "notice good" : "notice bad" }, well
      ? `Serving version ${state.version}. The store answers, and nothing was lost.`
      : `Serving version ${state.version}, but ${state.failures ? `${state.failures} published versions could not be opened` : ""}${state.failures && store.lost ? " and " : ""}${store.lost ? `${store.lost} answers were not written down` : ""}.`),
    h("div", { class: "cards" },
      card("Catalogue", [["Shop", (catalogue.shop || "–").replaceAll("_", " ")], ["Items on sale", number(catalogue.items, 0)], ["Changes since it was built", number(catalogue.changes, 0)], ["Different texts", number(catalogue.texts, 0)], ["Shoppers learned from", number(catalogue.shoppers, 0)], ["Events learned from", number(catalogue.events, 0)]]),
      card("Index", [["Kind", index.kind || "–"], ["Answers", index.exact ? "exact" : "approximate"], ["Dimensions", number(index.dimensions, 0)], ["Memory", bytes(index.bytes)], ["Versions taken up", number(state.swaps, 0)], ["Versions refused", number(state.failures, 0)]]),
      card("Encoder", [["Name", encoder.name], ["Runs on", encoder.runtime], ["Precision", encoder.precision], ["Dimensions", number(encoder.dimensions, 0)], ["Adapter", encoder.adapter || "none"], ["Known queries", cache ? `${number(cache.hits, 0)} of ${number(cache.hits + cache.misses, 0)}` : "–"], ["Stamp", encoder.stamp]]),
      card("Store", [["At", store.address], ["Shoppers", number(store.shoppers, 0)], ["Events", number(store.events, 0)], ["Answers written down", number(store.answers, 0)], ["Histories in memory", number(store.in_memory, 0)]]),
    ),
    qualityCard(quality, state.weights),
    routes.length ? trafficCard(routes) : null,
  ].filter(Boolean);
}

function card(title, rows) {
  const id = `card-${title.toLowerCase()}`;
  return h("section", { class: "card", "aria-labelledby": id }, h("h2", { id }, title),
    h("dl", { class: "facts-list" }, rows.map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, value)))));
}

function qualityCard(quality, weights) {
  const measured = Object.entries(quality.validation);
  if (!measured.length) return null;
  return h("section", { class: "card", "aria-labelledby": "quality-title" }, h("h2", { id: "quality-title" }, "What each part is worth"),
    h("p", { class: "quiet" }, "NDCG@10 of each part alone and of all together, on the shop’s own validation requests when this version was built."),
    ...measured.flatMap(([protocol, found]) => [measured.length > 1 ? h("h3", {}, protocol.startsWith("search") ? "In words" : "Without words") : null, worth(found, weights)].filter(Boolean)));
}

function worth(found, weights) {
  const single = Object.entries(found.single).sort((a, b) => b[1] - a[1]);
  const top = Math.max(found["ndcg@10"], ...single.map(([, value]) => value), 1e-9);
  const rows = [["Everything together", found["ndcg@10"], true], ...single.map(([part, value]) => [partName(part), value, false, weights[part]])];
  return h("ul", { class: "made bars" }, rows.map(([label, value, whole, weight]) => h("li", { class: whole ? "whole" : null },
    h("span", {}, quiet(label), weight === undefined ? "" : h("span", { class: "quiet" }, ` weight ${number(weight)}`)), h("span", { class: "n" }, value.toFixed(3)), h("b", { "aria-hidden": "true", css: { "--w": `${(100 * value) / top}%` } }))));
}

function trafficCard(routes) {
  return h("section", { class: "card", "aria-labelledby": "traffic-title" }, h("h2", { id: "traffic-title" }, "Requests since the start"),
    h("p", { class: "quiet" }, "Latencies are upper bounds of the buckets they were counted in."),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Requests by path" }, h("table", { class: "traffic" },
      h("thead", {}, h("tr", {}, ["Path", "Answered", "Refused", "Failed", "Half within", "99% within"].map((head, k) => h("th", { scope: "col", class: k ? "n" : null }, head)))),
      h("tbody", {}, routes.map((one) => h("tr", {}, h("th", { scope: "row" }, one.route), [number(one.good, 0), number(one.refused, 0), number(one.failed, 0), within(one.p50), within(one.p99)].map((cell) => h("td", { class: "n" }, cell))))))));
}

const within = (s) => (s === null ? "–" : s === Infinity ? "over 5 s" : s < 1 ? `${number(s * 1000, 1)} ms` : `${number(s, 1)} s`);

/** Routes of Prometheus' text with counts and upper bounds of two quantiles. */
export function traffic(text) {
  const routes = new Map();
  const of = (route) => routes.get(route) || routes.set(route, { route, good: 0, refused: 0, failed: 0, buckets: [] }).get(route);
  for (const line of text.split("\n")) {
    const found = /^(tasteprint_requests_total|tasteprint_request_seconds_bucket)\{(.*)\} (\S+)$/.exec(line);
    if (!found) continue;
    const labels = Object.fromEntries([...found[2].matchAll(/(\w+)="([^"]*)"/g)].map((m) => [m[1], m[2]]));
    const one = of(labels.route), value = Number(found[3]);
    if (found[1].endsWith("bucket")) one.buckets.push([labels.le === "+Inf" ? Infinity : Number(labels.le), value]);
    else if (labels.status < 400) one.good += value;
    else if (labels.status < 500) one.refused += value;
    else one.failed += value;
  }
  return [...routes.values()].filter((one) => /^\/(v1|console)\//.test(one.route) && !one.route.startsWith("/console/files"))
    .map((one) => ({ ...one, p50: bound(one.buckets, 0.5), p99: bound(one.buckets, 0.99) }))
    .sort((a, b) => a.route.localeCompare(b.route));
}

function bound(buckets, share) {
  const sorted = buckets.sort((a, b) => a[0] - b[0]), all = sorted.at(-1)?.[1] || 0;
  return all ? sorted.find(([, n]) => n >= share * all)[0] : null;
}
