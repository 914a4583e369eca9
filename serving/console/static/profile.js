// The second view: who a shopper is, in words, over time and by interest, and what they did last.

import { call } from "./api.js";
import { announce, count, h, keepFocus, kind, number, percent, quiet } from "./dom.js";
import { portraitOf } from "./moves.js";
import { become, change, listen, muted, state } from "./state.js";
import { ask, tagMap } from "./tags.js";
import { timelineCard } from "./timeline.js";

const KINDS = { purchase: "bought", view: "viewed", click: "clicked", cart: "put in the cart", search: "searched", review: "reviewed", own: "owns", impression: "was shown" };

export function profileView(root) {
  let turn = 0, notice = "";
  const draw = async () => {
    const mine = ++turn, user = state.user;
    if (user === null) {
      root.replaceChildren(h("h1", {}, "Profile"), h("p", { class: "quiet" }, "Nobody is chosen. Choose a shopper above."));
      return;
    }
    if (!root.querySelector("[data-user]") || root.querySelector("[data-user]").dataset.user !== user) {
      root.replaceChildren(h("h1", { "data-user": user }, name(user)), h("p", { class: "quiet", role: "status" }, "Reading their history. The first time, what is usual in this shop is learned; that takes some seconds."));
    }
    root.setAttribute("aria-busy", "true");
    try {
      const found = await portraitOf(user);
      if (mine !== turn) return;
      change({ portraits: { ...state.portraits, [user]: found } });
      keepFocus(root, () => root.replaceChildren(...page(found, notice, (said) => { notice = said; draw(); })), "#tags-title");
    } catch (error) {
      if (mine === turn) root.replaceChildren(h("h1", {}, name(user)), h("p", { class: "wrong", role: "alert" }, error.message));
    } finally {
      if (mine === turn) root.removeAttribute("aria-busy");
    }
  };
  draw();
  return listen((changed) => { if ("user" in changed) notice = ""; if ("user" in changed || "mutes" in changed) draw(); });
}

const name = (user) => (state.isNew ? "A new shopper" : user);

function page(found, notice, changed) {
  const profile = found.profile;
  return [
    h("h1", { "data-user": found.user }, name(found.user)),
    notice ? h("p", { class: "notice", role: "status" }, notice) : null,
    muted().length ? h("p", { class: "notice" }, `${count(found.muted_events, "event")} muted: the summary below and every answer are as if they had never happened.`) : null,
    profile ? summary(found, profile) : h("p", { class: "quiet" }, "Nothing is known of them yet."),
    tagMap(found, changed),
    timelineCard(found.timeline, muted()),
    h("div", { class: "two" }, Object.keys(profile?.interests || {}).map((horizon) => made(profile, horizon)), cycles(profile), latest(found)),
    end(found),
  ].filter(Boolean);
}

function summary(found, profile) {
  const known = Object.entries(profile.attributes || {});
  return h("section", { class: "card lead", "aria-label": "Summary" },
    h("ul", { class: "sentences" }, profile.summary.map((line) => h("li", {}, line))),
    h("dl", { class: "pairs" },
      pair("Events", number(found.events, 0)),
      profile.behaviour?.orders ? pair("Orders", number(profile.behaviour.orders, 0)) : null,
      known.map(([key, value]) => pair(key.replaceAll("_", " "), value))));
}

const pair = (key, value) => h("div", {}, h("dt", {}, key), h("dd", {}, value));

const HORIZONS = { long: "Made of, over the long run", short: "Made of, lately", session: "Made of, in this visit", untimed: "Made of, whenever it was" };

function made(profile, horizon) {
  const title = HORIZONS[horizon] || `Made of, ${horizon}`;
  const state_ = profile.interests[horizon];
  const items = (state_.made_of || []).filter((item) => item.share >= 0.0005);
  if (!items.length) return null;
  const top = Math.max(...items.map((item) => item.share), 1e-9);
  return h("section", { class: "card", "aria-labelledby": `made-${horizon}` },
    h("h2", { id: `made-${horizon}` }, title),
    h("p", { class: "quiet" }, state_.half_life_days === null ? "Whatever its age." : state_.half_life_days >= 1 ? `Half-life ${count(Math.round(state_.half_life_days), "day")}.` : `Half-life ${count(Math.round(state_.half_life_days * 1440), "minute")}.`),
    h("ul", { class: "made" }, items.map((item) => h("li", {}, h("span", {}, quiet(item.title)), h("span", { class: "n" }, percent(item.share)), h("b", { "aria-hidden": "true", css: { "--w": `${(100 * item.share) / top}%` } })))));
}

function cycles(profile) {
  const rows = profile?.cycles || [];
  if (!rows.length) return null;
  return h("section", { class: "card", "aria-labelledby": "cycles-title" },
    h("h2", { id: "cycles-title" }, "Bought again and again"),
    h("ul", { class: "made" }, rows.map((row) => h("li", {}, h("span", {}, quiet(row.title)), h("span", { class: "n" }, row.due >= 1 ? "due" : `${Math.round(row.due * 100)}% of its time`), h("span", { class: "quiet wide" }, `${count(row.times, "time")}, every ${count(Math.round(row.every_days), "day")}`)))));
}

function latest(found) {
  if (!found.latest.length) return null;
  return h("section", { class: "card", "aria-labelledby": "latest-title" },
    h("h2", { id: "latest-title" }, "Latest"),
    h("ol", { class: "latest", tabindex: "0", "aria-label": "Latest events" }, found.latest.map((event) => h("li", {},
      h("span", { class: "quiet" }, `${event.at.slice(0, 10)} ${KINDS[event.kind] || event.kind}`),
      h("span", {}, event.item ? quiet(event.item.title) : `“${event.query || ""}”`),
      event.item && kind(event.item) ? h("span", { class: "quiet" }, kind(event.item)) : null))));
}

function end(found) {
  return h("section", { class: "card end", "aria-labelledby": "end-title" },
    h("h2", { id: "end-title" }, "Forget this shopper"),
    h("p", { class: "quiet" }, "Removes their events, caches and what they were shown, and gives a receipt."),
    h("button", { type: "button", class: "danger", on: { click: () => ask(`Forget ${name(found.user)}?`, "Everything kept of this shopper is removed from the store. This cannot be undone.", "Forget", async () => {
      const receipt = await call(`/v1/profiles/${encodeURIComponent(found.user)}`, undefined, { method: "DELETE" });
      announce(`Forgotten: ${count(receipt.removed.events, "event")} removed.`);
      const next = (state.begun?.shoppers || []).find((one) => one.user !== found.user);
      become(next?.user ?? null);
    }) } }, "Forget"));
}
