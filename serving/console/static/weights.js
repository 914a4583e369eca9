// Knobs: a slider for each group of parts, how personal an answer is, and how varied. Every turn is answered at once.

import { h, number } from "./dom.js";
import { GROUPS } from "./groups.js";
import { change, state } from "./state.js";

/** The panel for what was found; drawn anew only when another question comes, so a slider is never taken from a hand. */
export function panel(found) {
  const learned = found.learned;
  const step = Math.ceil(Math.max(1, ...Object.values(learned)) * 25) / 1000; // short, or the last step would lie beyond the end
  const top = Number((60 * step).toFixed(3));
  const rows = Object.keys(GROUPS).filter((name) => name in learned && (found.query || GROUPS[name].side !== "asked"))
    .map((name) => slider({
      id: `w-${name}`, swatch: name, label: GROUPS[name].name, says: GROUPS[name].says, max: top, step,
      value: state.weights[name] ?? learned[name],
      shown: (value) => number(value),
      mark: learned[name],
      set: (value) => {
        const weights = { ...state.weights };
        if (Math.abs(value - learned[name]) < top / 90) delete weights[name];
        else weights[name] = value;
        change({ weights });
      },
    }));
  const read = found.intent?.specificity ?? 1;
  const personal = found.query && found.user !== null ? slider({
    id: "w-specificity", label: "How personal", says: "set by how specific the words are; move it to overrule that", max: 1, step: 0.02,
    value: 1 - (state.specificity ?? read), mark: 1 - read, shown: (value) => `${Math.round(value * 100)}%`,
    set: (value) => change({ specificity: Math.abs(value - (1 - read)) < 0.011 ? null : 1 - value }),
  }) : null;
  const varied = slider({
    id: "w-diversity", label: "Variety", says: "less of the same among the first", max: 1, step: 0.05, value: state.diversity, mark: 0,
    shown: (value) => `${Math.round(value * 100)}%`, set: (value) => change({ diversity: value }),
  });
  return h("details", { class: "card knobs", open: matchMedia("(min-width: 1081px)").matches || panel.open },
    h("summary", { on: { click: (event) => { panel.open = !event.currentTarget.parentElement.open; } } }, h("h2", { id: "knobs-title" }, "Weights")),
    h("p", { class: "quiet" }, "The notch marks what this shop taught. A moved weight acts at once, and only here."),
    personal, rows, varied,
    h("button", { type: "button", class: "small", id: "reset", on: { click: () => change({ weights: {}, specificity: null, diversity: 0, reset: true }) } }, "Back to what was learned"));
}

function slider({ id, swatch, label, says, max, step, value, mark, shown, set }) {
  const out = h("output", { for: id }, shown(value));
  const input = h("input", {
    id, type: "range", min: 0, max, step, value, "aria-describedby": `${id}-says`,
    on: { input: () => { out.textContent = shown(Number(input.value)); set(Number(input.value)); } },
  });
  input.value = String(value);
  return h("div", { class: "knob", title: says },
    h("label", { for: id }, swatch ? h("i", { class: `g-${swatch}` }) : null, label),
    h("span", { class: "track", css: { "--mark": (mark / max).toFixed(4) } }, input, h("i", { class: "notch" })), out,
    h("span", { class: "hidden", id: `${id}-says` }, says));
}
