// Asking for an API key. It is handed to `api`, which keeps it in memory of this tab and nowhere else.

import { setKey } from "./api.js";
import { h } from "./dom.js";

/** Ask for a key; gives it, or null if the question was put away. */
export function askKey(why = "") {
  return new Promise((done) => {
    let given = null;
    const box = h("input", { id: "key-box", type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "key-says" });
    const form = h("form", {
      method: "dialog",
      on: { submit: () => { given = box.value.trim() || null; } },
    },
    h("h2", { id: "key-title" }, "A key is needed"),
    h("p", { class: "quiet", id: "key-says" }, "This service asks for an API key (made by “tasteprint serve-key”). It is kept in this tab only, until it is closed or reloaded."),
    why ? h("p", { class: "wrong", role: "alert" }, why) : null,
    h("label", { for: "key-box" }, "API key"), box,
    h("div", { class: "row" }, h("button", { class: "primary" }, "Use this key")));
    const dialog = h("dialog", { class: "sheet narrow", "aria-labelledby": "key-title", on: { close: () => { dialog.remove(); done(given); } } }, form);
    document.body.append(dialog);
    dialog.showModal();
    box.focus();
  });
}

/** Replace the key, or let go of it. */
export async function changeKey() {
  const given = await askKey();
  if (given) setKey(given);
  return given !== null;
}
