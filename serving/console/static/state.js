// What the page knows: who is looked at, what is asked, and which knobs are turned. Views listen and draw.

const listeners = new Set();

export const state = {
  begun: null, // what /console/start said
  user: null,
  isNew: false,
  attributes: {},
  query: "",
  weights: {}, // group -> weight that was set; absent = learned
  specificity: null,
  diversity: 0,
  mutes: {}, // user -> names of muted interests
  portraits: {}, // user -> last portrait
  steps: [], // what clicks did to the profile, newest first
};

/** Have `run(changed)` called when something changes; gives a function that stops it. */
export function listen(run) {
  listeners.add(run);
  return () => listeners.delete(run);
}

export function change(changed) {
  Object.assign(state, changed);
  for (const run of [...listeners]) run(changed);
}

export const muted = () => state.mutes[state.user] || [];

export function setMuted(names) {
  change({ mutes: { ...state.mutes, [state.user]: names } });
}

/** Look at somebody: what belongs to another shopper's visit goes. */
export function become(user, { isNew = false } = {}) {
  document.querySelector(".toast")?.remove();
  change({ user, isNew, attributes: {}, steps: [], weights: {}, specificity: null });
}
