// Sort and filter the cases. Nothing here touches the document.

/** Return the choices of order as [key, text] pairs. */
function orderChoices(table) {
  const keys = Object.keys(table.scores);
  const choices = [];
  if (keys.length) {
    const heading = table.scores[keys[0]];
    choices.push(["worst", `Worst ${heading} first`], ["best", `Best ${heading} first`]);
    if (table.arms.length > 1) choices.push(["different", "Largest difference between runs first"]);
  }
  choices.push(["large", "Largest foreground first"], ["small", "Smallest foreground first"], ["id", "By id"]);
  for (const key of keys.slice(1)) {
    const heading = table.scores[key];
    choices.push([`high:${key}`, `Highest ${heading} first`], [`low:${key}`, `Lowest ${heading} first`]);
  }
  return choices;
}

/** Return the score `key` of `item` in run `arm`, or null. */
function scoreOf(item, arm, key) {
  return item.scores[arm]?.[key] ?? null;
}

/** Return the range of score `key` over `arms`, or null where fewer than two runs have it. */
function differenceOf(item, arms, key) {
  const values = arms.map((arm) => scoreOf(item, arm, key)).filter((value) => value !== null);
  return values.length > 1 ? Math.max(...values) - Math.min(...values) : null;
}

/**
 * Return `items` sorted by `choice`, one of the keys of `orderChoices`, for run `arm`.
 *
 * Cases without the value come last, in either direction. Ties keep the order of the ids.
 */
function sortCases(items, choice, arm, table) {
  const first = Object.keys(table.scores)[0];
  const [kind, ...rest] = choice.split(":");
  const key = rest.length ? rest.join(":") : first;
  const values = {
    worst: (item) => scoreOf(item, arm, first),
    best: (item) => scoreOf(item, arm, first),
    different: (item) => differenceOf(item, table.arms, first),
    large: (item) => item.size,
    small: (item) => item.size,
    high: (item) => scoreOf(item, arm, key),
    low: (item) => scoreOf(item, arm, key),
    id: () => 0,
  };
  const lowerIsBetter = table.lower.includes(first);
  const upwards = { small: true, low: true, worst: !lowerIsBetter, best: lowerIsBetter };
  const sign = upwards[kind] ? 1 : -1;
  const keyed = items.map((item) => ({ item, value: values[kind](item) }));
  keyed.sort((a, b) => {
    if (a.value !== b.value) {
      if (a.value === null) return 1;
      if (b.value === null) return -1;
      return sign * (a.value - b.value);
    }
    return compareIds(a.item.id, b.item.id);
  });
  return keyed.map(({ item }) => item);
}

const idCollator = new Intl.Collator("en", { numeric: true });

function compareIds(a, b) {
  return idCollator.compare(a, b);
}

/**
 * Return the `items` that pass all filters. An empty filter lets everything pass.
 *
 * filter: {text, group, flag, pictures}: part of the id or group in any case of letters, a group, a flag, and whether
 * only cases with a picture are wanted.
 */
function filterCases(items, { text, group, flag, pictures }) {
  const wanted = text.trim().toLowerCase();
  return items.filter(
    (item) =>
      (!pictures || item.picture !== null) &&
      (!group || item.group === group) &&
      (!flag || item.flags.includes(flag)) &&
      (!wanted || item.id.toLowerCase().includes(wanted) || item.group.toLowerCase().includes(wanted)),
  );
}
