// The first view: a question, how it was read, two lists, and the knobs beside them.

import { call } from "./api.js";
import { announce, byId, count, h, keepFocus, quiet } from "./dom.js";
import { intentCard } from "./intent.js";
import { movesCard, portraitOf, remember, tell } from "./moves.js";
import { newcomerCard } from "./newcomer.js";
import { glide, lists, places } from "./results.js";
import { cameFrom } from "./served.js";
import { change, listen, muted, state } from "./state.js";
import { panel } from "./weights.js";

const K = 10;

/** Draw the view into `root`; gives a function that leaves it. */
export function searchView(root) {
  const view = { found: null, turn: 0, busy: false, asking: null };
  const box = h("input", { id: "query", type: "search", name: "q", value: state.query, autocomplete: "off", placeholder: "Ask for something", enterkeyhint: "search" });
  box.addEventListener("search", () => { if (!box.value && state.query) change({ query: "", specificity: null }); }); // its cross was clicked
  const form = h("form", { class: "ask", role: "search", on: { submit: (event) => { event.preventDefault(); change({ query: box.value.trim(), specificity: null }); } } },
    h("label", { for: "query", class: "hidden" }, "Search the shop"), box, h("button", { class: "primary" }, "Search"));
  const place = Object.fromEntries(["try", "new", "intent", "side", "pair", "moves", "wrong"].map((name) => [name, h("div", { class: `at-${name}` })]));
  const pick = (which) => { place.pair.dataset.shown = which; drawSwitch(); };
  const choice = h("div", { class: "switch", role: "group", "aria-label": "Which list" });
  const drawSwitch = () => choice.replaceChildren(...[["own", state.user === null ? "With these weights" : "For this shopper"], ["plain", "For anybody"]].map(([which, label]) =>
    h("button", { type: "button", "aria-pressed": String(place.pair.dataset.shown === which), on: { click: () => pick(which) } }, label)));
  place.pair.dataset.shown = "own";
  drawSwitch();
  root.replaceChildren(h("h1", { class: "hidden" }, "Search"), form, place.try, place.new, place.wrong, place.intent,
    h("div", { class: "board" }, h("div", { class: "lists" }, choice, place.pair), h("div", { class: "side" }, place.moves, place.side)));

  const draw = (keepKnobs) => {
    const found = view.found;
    const before = places(place.pair);
    const openRows = new Set([...place.pair.querySelectorAll("[data-item]:has(details[open])")].map((row) => row.dataset.item));
    keepFocus(place.pair, () => place.pair.replaceChildren(...lists(found, (kind, item) => act(view, kind, item, refresh))), "#own-title");
    for (const row of place.pair.querySelectorAll("[data-item]")) if (openRows.has(row.dataset.item)) row.querySelector("details").open = true;
    glide(place.pair, before);
    place.intent.replaceChildren(...(found.intent ? [intentCard(found.intent, found.said)] : found.said.map((line) => h("p", { class: "told" }, line))));
    const learned = JSON.stringify([found.learned, state.user]);
    if (!keepKnobs || learned !== view.learned) place.side.replaceChildren(panel(found));
    view.learned = learned;
    place.moves.replaceChildren(...(state.user === null ? [] : [movesCard()]));
    keepFocus(place.new, () => place.new.replaceChildren(...(state.isNew ? [newcomerCard(found)] : [])));
    drawTries(place.try);
  };

  const refresh = async (keepKnobs = false) => {
    const mine = ++view.turn;
    view.asking?.abort();
    view.asking = new AbortController();
    root.setAttribute("aria-busy", "true");
    try {
      const found = await call("/console/compare", question(), { signal: view.asking.signal });
      if (mine !== view.turn) return;
      view.found = { ...found, weights: state.weights };
      place.wrong.replaceChildren();
      cameFrom(found.version);
      draw(keepKnobs);
    } catch (error) {
      if (error.name !== "AbortError" && mine === view.turn) place.wrong.replaceChildren(h("p", { class: "wrong", role: "alert" }, error.message));
    } finally {
      if (mine === view.turn) root.removeAttribute("aria-busy");
    }
  };

  let waiting = 0;
  const stop = listen((changed) => {
    if ("user" in changed) drawSwitch();
    if ("query" in changed && box.value.trim() !== state.query) box.value = state.query;
    if ("steps" in changed && Object.keys(changed).length === 1) return place.moves.replaceChildren(movesCard());
    if ("portraits" in changed) {
      if ("begun" in changed) lookAt();
      return drawTries(place.try);
    }
    const knob = ["weights", "specificity", "diversity"].some((name) => name in changed) && !("query" in changed) && !("user" in changed) && !changed.reset;
    clearTimeout(waiting);
    waiting = setTimeout(() => refresh(knob).then(() => { if ("query" in changed && view.found) announce(heard(view.found)); }), knob ? 60 : 0);
    if ("user" in changed) lookAt();
  });
  refresh();
  lookAt();
  return stop;
}

/** What to ask the server now. */
function question() {
  const body = { user: state.user, query: state.query || null, k: K, weights: {}, specificity: state.specificity, diversity: state.diversity, mute: muted() };
  if (state.isNew && Object.keys(state.attributes).length) body.attributes = state.attributes;
  for (const [name, weight] of Object.entries(state.weights)) body.weights[name] = weight;
  return body;
}

function heard(found) {
  const moved = found.personal.filter((item) => item.other_rank !== item.rank).length;
  return `${count(found.personal.length, "item")}${state.query ? ` for ${state.query}` : ""}; ${moved} moved for this shopper. ${found.intent?.explanation || ""}`;
}

/** The shopper's portrait, fetched beside the answer, to tell later what moved. */
async function lookAt() {
  const user = state.user;
  if (user === null || state.portraits[user]) return;
  try {
    const found = await portraitOf(user);
    change({ portraits: { ...state.portraits, [user]: found } });
  } catch { /* the profile view says what is wrong */ }
}

/** The shopper does something; then the list and the profile are looked at again. */
async function act(view, kind, item, refresh) {
  if (view.busy) return;
  view.busy = true;
  try {
    const user = state.user;
    const before = state.portraits[user] || (await portraitOf(user));
    const listBefore = view.found.personal;
    await tell(kind, item);
    await refresh(true);
    const after = await portraitOf(user);
    if (user !== state.user) return;
    change({ portraits: { ...state.portraits, [user]: after } });
    remember(kind, item, before, after, listBefore, view.found.personal);
  } catch (error) {
    byId("main").querySelector(".at-wrong").replaceChildren(h("p", { class: "wrong", role: "alert" }, error.message));
  } finally {
    view.busy = false;
  }
}

/** Words to begin with: names of what this shopper likes. */
function drawTries(place) {
  const tags = (state.portraits[state.user]?.tags || []).filter((tag) => tag.kind !== "attribute").slice(0, 5);
  const show = state.begun?.asks_words && !state.query && tags.length;
  place.replaceChildren(...(show ? [h("p", { class: "tries" }, h("span", { class: "quiet" }, "They like: "),
    tags.map((tag) => h("button", { type: "button", class: "chip", on: { click: () => change({ query: quiet(tag.name).toLowerCase(), specificity: null }) } }, quiet(tag.name))))] : []));
}
