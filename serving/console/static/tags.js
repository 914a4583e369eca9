// The tag map: interests as tiles, larger the more of the shopper they are, with mute and delete on each.

import { call } from "./api.js";
import { announce, count, h, percent, quiet } from "./dom.js";
import { muted, setMuted, state } from "./state.js";

const TREND = { rising: "growing", falling: "fading", steady: "steady" };

/** Interests of a portrait, the largest first: each with its share in the long run and lately. */
export function interests(portrait) {
  const course = new Map(portrait.timeline.lines.map((line) => [line.name, line]));
  const found = new Map([...portrait.recent_tags, ...portrait.tags].map((tag) => [tag.name, tag]));
  return [...found.values()].map((tag) => {
    const line = course.get(tag.name);
    return { ...tag, share: line ? line.share.at(-1) : tag.share, lately: line ? line.lately : null };
  }).sort((a, b) => size(b) - size(a));
}

const size = (tag) => Math.max(tag.share, tag.lately || 0);

const trend = (tag) => (tag.lately === null ? null : tag.lately > tag.share * 1.25 ? "rising" : tag.lately < tag.share * 0.75 ? "falling" : "steady");

export function tagMap(portrait, changed) {
  const found = interests(portrait);
  const top = Math.max(0.01, ...found.map(size));
  return h("section", { class: "card", "aria-labelledby": "tags-title" },
    h("h2", { id: "tags-title", tabindex: "-1" }, "Interests"),
    h("p", { class: "quiet" }, "Larger tiles are more of this shopper. Mute one to see every answer without it, in this tab; delete it to take its events out of their history."),
    found.length ? h("ul", { class: "tags" }, found.map((tag) => tile(tag, top, changed))) : h("p", { class: "empty" }, "No interest stands out yet."));
}

function tile(tag, top, changed) {
  const out = muted().includes(tag.name);
  const how = trend(tag);
  const name = quiet(tag.name);
  return h("li", { class: out ? "tag out" : "tag", css: { "--size": (size(tag) / top).toFixed(3) } },
    h("div", {},
      h("b", {}, name),
      h("p", { class: "quiet" }, percent(tag.share), tag.lift > 1 ? `, ${tag.lift >= 10 ? Math.round(tag.lift) : tag.lift.toFixed(1)}× the usual` : ""),
      how === null ? null : h("p", { class: `trend ${how}` }, `lately ${percent(tag.lately)}, ${TREND[how]}`)),
    h("div", { class: "row" },
      h("button", { type: "button", class: "small", "data-at": `mute ${tag.name}`, "aria-pressed": String(out), on: { click: () => mute(tag.name, !out) } }, out ? "Muted" : "Mute", h("span", { class: "hidden" }, ` ${name}`)),
      h("button", { type: "button", class: "small danger", "data-at": `delete ${tag.name}`, on: { click: () => remove(tag, changed) } }, "Delete", h("span", { class: "hidden" }, ` ${name}`))));
}

function mute(name, out) {
  setMuted(out ? [...muted(), name] : muted().filter((one) => one !== name));
  announce(out ? `${name} is muted: answers are as if it had never happened.` : `${name} counts again.`);
}

function remove(tag, changed) {
  const name = quiet(tag.name);
  ask(`Delete “${name}”?`, `Events on ${count(tag.items, "item")} that carry this name are taken out of this shopper’s history for good. Nothing else changes.`, "Delete", async () => {
    const done = await call("/console/remove", { user: state.user, interest: tag.name });
    setMuted(muted().filter((one) => one !== tag.name));
    announce(`${count(done.removed, "event")} removed.`);
    changed([`${count(done.removed, "event")} of “${name}” removed.`, ...done.remains.map((said) => `${said.charAt(0).toUpperCase()}${said.slice(1)}.`)].join(" "));
  });
}

/** A question before something that cannot be undone. */
export function ask(title, says, yes, run) {
  const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
  const go = h("button", { type: "button", class: "danger strong", on: { click: async () => {
    go.disabled = true;
    try { await run(); dialog.close(); } catch (error) { wrong.textContent = error.message; wrong.hidden = false; go.disabled = false; }
  } } }, yes);
  const dialog = h("dialog", { class: "sheet narrow", "aria-labelledby": "ask-title", "aria-describedby": "ask-says", on: { close: () => dialog.remove() } },
    h("h2", { id: "ask-title" }, title), h("p", { id: "ask-says" }, says), wrong,
    h("form", { method: "dialog", class: "row" }, go, h("button", {}, "Keep it")));
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("form button:last-child").focus();
}
