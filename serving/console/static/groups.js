// Names, words and order of the groups of parts; which part belongs where is the server's to say.

export const GROUPS = {
  meaning: { name: "Meaning", says: "what the words ask for", side: "asked" },
  words: { name: "Words", says: "the very words, by BM25", side: "asked" },
  named: { name: "Named", says: "the brand, kind or price they name", side: "asked" },
  taste: { name: "Taste", says: "what they like, long and short", side: "own" },
  habit: { name: "Habit", says: "what they choose again", side: "own" },
  next: { name: "Next", says: "what follows what they chose", side: "own" },
  behaviour: { name: "Behaviour", says: "price level, brands, categories", side: "own" },
  popularity: { name: "Popularity", says: "what many choose", side: "all" },
  context: { name: "Context", says: "time, place, device", side: "all" },
  other: { name: "Together", says: "what only the sum tells", side: "all" },
};

const PARTS = {
  meaning: "meaning", bm25: "words", words: "words", read_together: "both read together", intent: "brand, kind or price that was named",
  taste_long: "taste, long", taste_short: "taste, lately", taste_learned: "taste, learned", directions: "goes with all they chose",
  behaviour: "behaviour", affinity: "categories, brands, prices", shopper: "kind of shopper",
  repeat: "due again", own: "chosen before", repeats: "how often it is repeated",
  transitions: "follows their choices", text_neighbours: "resembles their choices", pairs: "goes with the latest",
  popular: "popular", recent_popular: "popular lately", alike: "popular with shoppers alike", popularity: "popular at such times",
  context: "time and place", together: "everything together",
};

export const partName = (part) => PARTS[part] || part.replaceAll("_", " ");

/** What each group adds to an item, largest first: [{group, amount, reasons}]. */
export function byGroup(reasons) {
  const found = new Map();
  for (const reason of reasons) {
    const group = GROUPS[reason.group] ? reason.group : "other";
    const entry = found.get(group) || { group, amount: 0, reasons: [] };
    entry.amount += reason.amount;
    entry.reasons.push(reason);
    found.set(group, entry);
  }
  return Object.keys(GROUPS).filter((name) => found.has(name)).map((name) => found.get(name));
}
