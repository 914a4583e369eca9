// Talking to the server: one key for this tab, problems as errors, and patience where the server asks for it.

let key = null;
let askForKey = async () => null;

/** A refusal, in the server's own words. */
export class Refused extends Error {
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
  }
}

/** `ask(why)` is called when the server wants a key; it gives one, or null. */
export function onKeyWanted(ask) { askForKey = ask; }

/** The key lives in this variable alone: not in storage, not in the address, gone with the tab. */
export function setKey(given) { key = given; }

export const hasKey = () => key !== null;

let asking = null;

async function wantKey(why) {
  asking ??= askForKey(why).finally(() => { asking = null; });
  const given = await asking;
  if (given) key = given;
  return Boolean(given);
}

/** Ask the server; a body makes it a POST. */
export async function call(path, body = undefined, { method = body === undefined ? "GET" : "POST", tries = 4, signal } = {}) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "No answer", "The service cannot be reached. It may be restarting; try again.");
  }
  if (answer.ok && !(answer.headers.get("Content-Type") || "").includes("json")) return answer.text();
  if (answer.ok) {
    const said = await answer.json();
    if (said.learning !== true) return said;
    await new Promise((done) => setTimeout(done, 500)); // the server waited some seconds already
    return call(path, body, { method, tries, signal });
  }
  if (answer.status === 401 && (await wantKey(key ? "This key is not known here." : ""))) return call(path, body, { method, tries, signal });
  if ((answer.status === 503 || answer.status === 429) && tries > 1) {
    await new Promise((done) => setTimeout(done, 1000 * Math.min(5, Number(answer.headers.get("Retry-After")) || 1)));
    return call(path, body, { method, tries: tries - 1, signal });
  }
  let said = {};
  try { said = await answer.json(); } catch { /* not a problem document */ }
  throw new Refused(answer.status, said.title || `Status ${answer.status}`, said.detail);
}
