// What a click did: the shopper's interests before and after, and how much of the list changed.

import { call } from "./api.js";
import { announce, count, fresh, h, percent, quiet } from "./dom.js";
import { change, muted, state } from "./state.js";

const DONE = { view: "Viewed", cart: "Put in the cart", purchase: "Bought" };

/** A shopper's portrait; an unknown one has an empty one. */
export async function portraitOf(user) {
  try {
    return await call("/console/portrait", { user, mute: muted() });
  } catch (error) {
    if (error.status !== 404) throw error;
    return { user, events: 0, muted_events: 0, tags: [], recent_tags: [], latest: [], timeline: { days: [], lines: [], did: {} }, profile: null };
  }
}

/** Tell the service that the shopper did something; when this returns, it is in every later answer. */
export async function tell(kind, item) {
  const event = { user_id: state.user, kind, item_id: item.item_id, key: fresh() };
  if (kind === "purchase") {
    event.quantity = 1;
    if (item.price !== null) event.price = item.price;
  }
  await call("/v1/events", { events: [event] });
}

/** Compare two portraits and two lists, and remember the step. */
export function remember(kind, item, before, after, listBefore, listAfter) {
  const was = new Map(listBefore.map((one) => [one.item_id, one.rank]));
  const moved = listAfter.filter((one) => was.get(one.item_id) !== one.rank).length;
  const step = { title: quiet(item.title), kind, moved, of: listAfter.length, tags: shifts(before, after), made: latest(after) };
  change({ steps: [step, ...state.steps].slice(0, 6) });
  const first = step.tags[0];
  const said = `${DONE[kind]} ${step.title}. ${count(moved, "place")} of ${step.of} changed.${first ? ` ${quiet(first.name)}: ${fine(first.was)} to ${fine(first.is)}.` : ""}`;
  announce(said);
  toast(said);
}

/** The interests that moved most, lately first: [{name, was, is}]. */
function shifts(before, after) {
  const read = (portrait) => new Map([...portrait.tags, ...portrait.recent_tags].map((tag) => [tag.name, tag.share]));
  const was = read(before), is = read(after);
  return [...new Set([...was.keys(), ...is.keys()])]
    .map((name) => ({ name, was: was.get(name) || 0, is: is.get(name) || 0 }))
    .filter((one) => Math.abs(one.is - one.was) >= 0.0005)
    .sort((a, b) => Math.abs(b.is - b.was) - Math.abs(a.is - a.was))
    .slice(0, 4);
}

/** What the short-term interest is made of now. */
const latest = (portrait) => (portrait.profile?.interests?.short?.made_of || []).filter((item) => item.share >= 0.0005).slice(0, 3);

export function movesCard() {
  const [step, ...older] = state.steps;
  if (!step) {
    return h("section", { class: "card moves still", "aria-labelledby": "moves-title" }, h("h2", { id: "moves-title" }, "Profile"),
      h("p", { class: "quiet" }, "Click an item’s name to view it as this shopper, or buy it: the profile and the list answer at once. It is stored as a real event."));
  }
  return h("section", { class: "card moves", "aria-labelledby": "moves-title" },
    h("h2", { id: "moves-title" }, "Profile moved"),
    h("p", {}, `${DONE[step.kind]} `, h("b", {}, step.title), `: ${step.moved} of ${step.of} places changed.`),
    step.tags.length ? h("ul", { class: "shifts", "aria-label": "Interests that moved" }, step.tags.map(shift)) : h("p", { class: "quiet" }, "No named interest moved; what it is made of lately did."),
    step.made.length ? [h("h3", {}, "Lately made of"), h("ul", { class: "made" }, step.made.map((item) => h("li", {}, h("span", {}, quiet(item.title)), h("span", { class: "n" }, percent(item.share)))))] : null,
    older.length ? h("p", { class: "quiet" }, `Before: ${older.map((one) => `${DONE[one.kind].toLowerCase()} ${one.title}`).join("; ")}.`) : null);
}

/** A share with as many places as a small move needs. */
const fine = (share) => `${(share * 100).toFixed(share > 0 && share < 1 ? 1 : 0)}%`;

/** On a narrow page the card is far from the list: the same in one line at the lower edge, for some seconds. */
function toast(said) {
  if (matchMedia("(min-width: 1081px)").matches) return;
  document.querySelector(".toast")?.remove();
  const line = h("p", { class: "toast", "aria-hidden": "true" }, said);
  document.body.append(line);
  setTimeout(() => line.remove(), 6000);
}

function shift(tag) {
  const up = tag.is > tag.was;
  return h("li", { class: up ? "rise" : "fall" },
    h("span", {}, quiet(tag.name)), h("span", { class: "n" }, `${fine(tag.was)} → ${fine(tag.is)}`),
    h("b", { "aria-hidden": "true", css: { "--was": `${Math.min(100, tag.was * 100)}%`, "--is": `${Math.min(100, tag.is * 100)}%` } }, h("i"), h("u")));
}
