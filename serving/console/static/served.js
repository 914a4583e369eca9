// What is served: asked when the page begins, and again when an answer comes from another version.

import { call } from "./api.js";
import { byId, count, setCurrency } from "./dom.js";
import { change, state } from "./state.js";

let asking = null;

/** Ask what is here, and say it at the foot of the page. */
export async function askServed() {
  const begun = await call("/console/start");
  setCurrency(begun.currency);
  byId("served").textContent = `${(begun.shop || "shop").replaceAll("_", " ")}, ${count(begun.items, "item")}, version ${begun.version}`;
  return begun;
}

/** An answer came from this version: where it is a new one, what was known of the old is let go. */
export function cameFrom(version) {
  if (!state.begun || version === state.begun.version || asking) return;
  asking = askServed().then((begun) => change({ begun, portraits: {} })).catch(() => {}).finally(() => { asking = null; });
}
