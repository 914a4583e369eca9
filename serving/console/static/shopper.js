// Whom the page looks at: the button in the header and the dialog behind it.

import { call } from "./api.js";
import { announce, byId, count, fresh, h, quiet } from "./dom.js";
import { become, state } from "./state.js";

let dialog = null;

/** Draw the button; called whenever the shopper changes. */
export function drawShopper() {
  const who = state.user === null ? "Nobody" : state.isNew ? "New shopper" : state.user;
  byId("who").replaceChildren(h("button", { type: "button", id: "choose", class: "shopper", "aria-haspopup": "dialog", on: { click: open } },
    h("span", { class: "quiet" }, "Shopping as "), h("b", {}, who)));
}

/** Take somebody nobody knows. */
export function meetNew() {
  close();
  become(`new-${fresh().slice(0, 10)}`, { isNew: true });
  announce("A new shopper. Nothing is known of them yet.");
}

function take(user) {
  close();
  become(user);
  announce(user === null ? "Nobody is chosen." : `Shopping as ${user}.`);
}

function close() {
  dialog?.close();
  dialog?.remove();
  dialog = null;
}

function open() {
  close();
  const list = h("ul", { class: "people", "aria-label": "Shoppers" });
  const status = h("p", { class: "quiet", role: "status" });
  const box = h("input", { id: "find", type: "search", autocomplete: "off", spellcheck: "false", placeholder: "Beginning of an id" });
  let turn = 0;
  const find = async () => {
    const mine = ++turn;
    try {
      const found = await call(`/console/shoppers?beginning=${encodeURIComponent(box.value.trim())}`);
      if (mine !== turn) return;
      show(list, found.shoppers);
      status.textContent = found.shoppers.length ? "" : "No shopper has an id that begins so.";
    } catch (error) { status.textContent = error.message; }
  };
  let waiting = 0;
  box.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(find, 150); });
  dialog = h("dialog", { class: "sheet", "aria-labelledby": "choose-title", on: { close, click: (event) => { if (event.target === dialog) close(); } } },
    h("form", { method: "dialog", class: "head" }, h("h2", { id: "choose-title" }, "Choose a shopper"), h("button", { class: "small" }, "Close")),
    h("div", { class: "row" },
      h("button", { type: "button", class: "primary", on: { click: meetNew } }, "Meet a new shopper"),
      h("button", { type: "button", on: { click: () => take(null) } }, "Nobody")),
    h("label", { for: "find" }, "Find by id"), box, status, list);
  document.body.append(dialog);
  show(list, state.begun?.shoppers || []);
  dialog.showModal();
  box.focus();
}

function show(list, people) {
  list.replaceChildren(...people.map((one) => h("li", {},
    h("button", { type: "button", "aria-current": one.user === state.user ? "true" : null, on: { click: () => take(one.user) } },
      h("b", {}, one.user), h("span", { class: "quiet" }, count(one.events, "event")),
      one.latest ? h("span", { class: "quiet last" }, `last: ${quiet(one.latest)}`) : null))));
}
