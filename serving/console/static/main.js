// The page: begins, keeps the address and the view together, and draws what is the same in every view.

import { hasKey, onKeyWanted } from "./api.js";
import { byId, h } from "./dom.js";
import { healthView } from "./health.js";
import { askKey, changeKey } from "./keys.js";
import { profileView } from "./profile.js";
import { searchView } from "./search.js";
import { askServed } from "./served.js";
import { drawShopper } from "./shopper.js";
import { change, listen, state } from "./state.js";

const VIEWS = { search: ["Search", searchView], profile: ["Profile", profileView], health: ["Health", healthView] };
let leave = () => {};
let current = null;

function address() {
  const [path, rest = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: path in VIEWS ? path : "search", given: new URLSearchParams(rest) };
}

/** Keep the address such that it can be sent to a colleague. */
function writeAddress() {
  const given = new URLSearchParams();
  if (state.query && current === "search") given.set("q", state.query);
  if (state.user && !state.isNew) given.set("user", state.user);
  const wanted = `#/${current}${given.size ? `?${given}` : ""}`;
  if (location.hash !== wanted) history.replaceState(null, "", wanted);
  for (const link of document.querySelectorAll(".tabs a")) {
    const view = link.getAttribute("href").slice(2).split("?")[0];
    const mine = new URLSearchParams(given);
    if (view !== "search") mine.delete("q");
    else if (state.query) mine.set("q", state.query);
    link.setAttribute("href", `#/${view}${mine.size ? `?${mine}` : ""}`);
    if (view === current) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
}

function show(focus) {
  const { view } = address();
  if (view === current) return;
  leave();
  current = view;
  const [title, draw] = VIEWS[view];
  document.title = `${title} · Tasteprint`;
  const main = byId("main");
  main.className = `view-${view}`;
  leave = draw(main) || (() => {});
  writeAddress();
  scrollTo(0, 0);
  if (focus) main.focus({ preventScroll: true });
}

function readAddress() {
  const { given } = address();
  const changed = {};
  if (given.has("user") && given.get("user") !== state.user) Object.assign(changed, { user: given.get("user"), isNew: false, steps: [], weights: {}, specificity: null });
  if (given.has("q") && given.get("q") !== state.query) changed.query = given.get("q");
  if (Object.keys(changed).length) change(changed);
}

function themes() {
  const button = byId("theme");
  let dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const draw = () => { button.textContent = dark ? "Light" : "Dark"; button.setAttribute("aria-label", `Use ${dark ? "light" : "dark"} colours`); };
  button.addEventListener("click", () => { dark = !dark; document.documentElement.dataset.theme = dark ? "dark" : "light"; draw(); });
  draw();
}

async function begin() {
  themes();
  onKeyWanted(askKey);
  try {
    const begun = await askServed();
    const { given } = address();
    change({ begun, user: given.get("user") || begun.shoppers[0]?.user || null, query: given.get("q") || "" });
  } catch (error) {
    byId("main").replaceChildren(h("h1", {}, "Tasteprint"), h("p", { class: "wrong", role: "alert" }, error.message),
      h("p", {}, h("button", { type: "button", class: "primary", on: { click: () => location.reload() } }, "Try again")));
    return;
  }
  if (hasKey()) {
    byId("key").hidden = false;
    byId("key").addEventListener("click", async () => { if (await changeKey()) location.hash === "#/health" ? show() : change({ user: state.user }); });
  }
  listen((changed) => { if ("user" in changed) drawShopper(); if (current && ("user" in changed || "query" in changed)) writeAddress(); });
  drawShopper();
  addEventListener("hashchange", () => { readAddress(); show(true); writeAddress(); });
  show(false);
}

begin();
