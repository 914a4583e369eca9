// The two lists: what anybody gets, and what this shopper gets, with how far each item moved and why.

import { calm, count, h, kind, number, price, quiet } from "./dom.js";
import { GROUPS, byGroup } from "./groups.js";
import { bar, breakdown, legend, positive } from "./reasons.js";

/** Both lists. `act(kind, item)` is called when the shopper does something with an item. */
export function lists(found, act) {
  const personal = found.user !== null;
  const widest = Math.max(...found.personal.map((item) => positive(item.reasons)), 1e-9);
  const right = h("section", { class: "list own", "aria-labelledby": "own-title" },
    h("h2", { id: "own-title", tabindex: "-1" }, personal ? "For this shopper" : "With these weights"),
    h("p", { class: "quiet" }, ownSays(found)),
    found.personal.length ? legend(found.personal) : null,
    found.personal.length
      ? h("ol", {}, found.personal.map((item) => own(item, found, widest, act)))
      : h("p", { class: "empty" }, "Nothing found."),
    found.shortage ? h("p", { class: "quiet" }, `${found.shortage}.`) : null);
  const left = h("section", { class: "list plain", "aria-labelledby": "plain-title" },
    h("h2", { id: "plain-title" }, "For anybody"),
    h("p", { class: "quiet" }, found.query ? "The same words, asked by nobody in particular." : "What is shown to somebody unknown."),
    h("ol", {}, found.plain.map((item) => plain(item, found))));
  return [left, right];
}

function ownSays(found) {
  if (found.user === null) return "Nobody is chosen: the same question, with the weights beside it.";
  if (found.newcomer) return "Nothing is known yet, so it is what new shoppers are shown.";
  if (found.specificity !== null && found.specificity >= 0.9) return "The words are precise, so their history hardly counts.";
  return `With ${count(found.events, "event")} of their history${found.ranker ? ", ordered by the ranker" : ""}.`;
}

function facts(item) {
  const said = [kind(item), item.brand && quiet(item.brand), price(item.price)].filter(Boolean);
  return h("p", { class: "facts" }, said.join(" · "));
}

function own(item, found, widest, act) {
  const mayAct = found.user !== null;
  const title = quiet(item.title);
  return h("li", { "data-item": item.item_id },
    h("span", { class: "rank", "aria-hidden": "true" }, item.rank),
    h("div", { class: "body" },
      h("div", { class: "head" },
        mayAct
          ? h("button", { type: "button", class: "title", "data-at": `view ${item.item_id}`, title: "View it, as this shopper", on: { click: () => act("view", item) } }, title)
          : h("span", { class: "title" }, title),
        move(item, found)),
      h("div", { class: "sub" }, facts(item),
        mayAct ? h("div", { class: "acts" }, ["cart", "purchase"].map((kind) => h("button", { type: "button", class: "tiny", "data-at": `${kind} ${item.item_id}`, on: { click: () => act(kind, item) } },
          kind === "cart" ? "Add to cart" : "Buy", h("span", { class: "hidden" }, ` ${title}`)))) : null),
      item.rules.length ? h("p", { class: "ruled" }, item.rules.join(" ")) : null,
      bar(item.reasons, widest),
      lift(item, found),
      h("details", {}, h("summary", { class: "why", "data-at": `why ${item.item_id}` }, item.sentence), breakdown(item))));
}

function plain(item, found) {
  const place = item.other_rank === null ? `below ${found.depth}` : `${item.other_rank}`;
  const same = item.other_rank === item.rank;
  return h("li", {},
    h("span", { class: "rank", "aria-hidden": "true" }, item.rank),
    h("div", { class: "body" },
      h("div", { class: "head" }, h("span", { class: "title" }, quiet(item.title))),
      facts(item),
      found.user === null ? null : h("p", { class: "facts" }, same ? "same place for this shopper" : `for this shopper: ${place}`)));
}

/** What moved an item of a search: the shopper's own part of its score, or that others have more of that. */
function lift(item, found) {
  if (!found.query || found.user === null || item.other_rank === item.rank) return null;
  if (item.other_rank !== null && item.other_rank < item.rank) return h("p", { class: "lift" }, "Down, as more speaks for others here.");
  const own = byGroup(item.reasons).filter((entry) => GROUPS[entry.group].side === "own" && entry.amount >= 0.0005).sort((a, b) => b.amount - a.amount).slice(0, 2);
  if (!own.length) return null;
  const said = own.map((entry) => {
    const behind = entry.reasons.flatMap((reason) => reason.events).find((event) => event.item_id !== item.item_id);
    return `${GROUPS[entry.group].name.toLowerCase()} +${number(entry.amount, entry.amount < 0.01 ? 3 : 2)}${behind ? ` (${quiet(behind.title)})` : ""}`;
  });
  return h("p", { class: "lift" }, `Lifted by ${said.join(" and ")}.`);
}

/** How far an item came from its place in the other list. */
function move(item, found) {
  if (found.user === null && !Object.keys(found.weights || {}).length) return null;
  if (item.other_rank === null) return badge("up far", `▲ from below ${found.depth}`, `came up from below place ${found.depth}`);
  const by = item.other_rank - item.rank;
  if (by === 0) return badge("same", "same place", "same place as for anybody");
  return by > 0
    ? badge("up", `▲ ${by}`, `${by} up from place ${item.other_rank}`)
    : badge("down", `▼ ${-by}`, `${-by} down from place ${item.other_rank}`);
}

const badge = (kind, shown, said) => h("span", { class: `move ${kind}`, title: said }, h("span", { "aria-hidden": "true" }, shown), h("span", { class: "hidden" }, said));

/** Where every item of a list stands on the screen, to let it glide to its next place. */
export function places(root) {
  return new Map([...root.querySelectorAll("[data-item]")].map((row) => [row.dataset.item, row.getBoundingClientRect().top]));
}

/** Let items glide from where they were; those that are new fade in. Nothing moves for those who want it calm. */
export function glide(root, before) {
  if (calm() || !before.size) return;
  for (const row of root.querySelectorAll("[data-item]")) {
    const was = before.get(row.dataset.item);
    const from = was === undefined
      ? { opacity: 0, transform: "translateX(12px)" }
      : { transform: `translateY(${was - row.getBoundingClientRect().top}px)` };
    row.animate([from, { opacity: 1, transform: "none" }], { duration: 320, easing: "cubic-bezier(.2,.7,.2,1)" });
  }
}
