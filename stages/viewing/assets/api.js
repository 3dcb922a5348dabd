// Ask the server. Addresses are relative to the page's own, which holds the token.

/**
 * Return the value that the server sends for `path`, such as "api/sample?at=3".
 *
 * Throws an Error whose message is for the reader. If the server sent it, `details` is the whole answer.
 */
async function ask(path, signal = null) {
  let response;
  try {
    response = await fetch(path, { signal, cache: "no-store", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The viewer does not answer. If it has ended, run pipeline view again and open the new address.");
  }
  const value = await response.json();
  if (!response.ok) throw Object.assign(new Error(value.error), { details: value });
  return value;
}

const MOST_SAMPLES = 16; // kept in memory, so that going back and forth asks for nothing

/** Return {get}: `get(at)` is a promise of a sample. Those asked for last are kept; errors are not. */
function createSamples() {
  const kept = new Map();
  return {
    get(at) {
      const known = kept.get(at) ?? ask(`api/sample?at=${at}`);
      kept.delete(at);
      kept.set(at, known); // a Map keeps the order in which keys were set
      known.catch(() => kept.delete(at));
      if (kept.size > MOST_SAMPLES) kept.delete(kept.keys().next().value);
      return known;
    },
  };
}
