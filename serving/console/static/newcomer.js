// Somebody nobody knows: what little may be said of them, and how they warm up with every click.

import { call } from "./api.js";
import { announce, byId, count, h } from "./dom.js";
import { meetNew } from "./shopper.js";
import { become, change, state } from "./state.js";

export function newcomerCard(found) {
  const options = Object.entries(state.begun?.attributes || {}).slice(0, 6);
  return h("section", { class: "card newcomer", "aria-labelledby": "new-title" },
    h("div", { class: "head" }, h("h2", { id: "new-title" }, "A new shopper"),
      h("div", { class: "row" },
        h("button", { type: "button", class: "small", id: "again", on: { click: meetNew } }, "Start again"),
        h("button", { type: "button", class: "small", id: "forget", on: { click: () => forget() } }, "Forget them"))),
    h("p", { class: "quiet" }, found.events
      ? `${count(found.events, "event")} so far. Every click counts for much while there are few.`
      : "Nothing is known of them. Click what they might like, and watch the list turn to them."),
    options.length && !found.events ? h("div", { class: "row fields" }, options.map(([name, values]) => field(name, values))) : null);
}

function field(name, values) {
  const id = `attribute-${name.replaceAll(/\W/g, "-")}`;
  const choice = h("select", { id, on: { change: () => {
    const attributes = { ...state.attributes };
    if (choice.value) attributes[name] = choice.value; else delete attributes[name];
    change({ attributes });
  } } }, h("option", { value: "" }, "not known"), values.map((value) => h("option", { value }, value)));
  choice.value = state.attributes[name] || "";
  return h("div", { class: "field" }, h("label", { for: id }, name.replaceAll("_", " ")), choice);
}

async function forget() {
  try {
    await call(`/v1/profiles/${encodeURIComponent(state.user)}`, undefined, { method: "DELETE" });
    announce("Forgotten.");
    become(state.begun?.shoppers?.[0]?.user ?? null);
  } catch (error) {
    byId("main").querySelector(".at-wrong")?.replaceChildren(h("p", { class: "wrong", role: "alert" }, error.message));
  }
}
