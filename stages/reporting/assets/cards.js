// A case as a card of the grid and as a row of the list.

/** Return a card: picture, id, group, main score of each run, flags. `open` is called when it is pressed. */
function makeCard(item, table, { open, several, watch }) {
  const key = Object.keys(table.scores)[0];
  const frame = make("span", { class: "card-picture" });
  if (item.picture === null) frame.append(make("span", { class: "hint" }, "no picture"));
  else watch(frame, item);
  const scores = table.arms.filter((arm) => item.scores[arm]).map((arm) =>
    make(
      "span",
      { class: "card-score" },
      table.arms.length > 1 ? shown(arm, { class: "card-arm" }) : shown(table.scores[key] ?? "", { class: "card-arm" }),
      make("span", { class: "number" }, scoreText(scoreOf(item, arm, key))),
    ),
  );
  const button = make(
    "button",
    { type: "button", class: "card", on: { click: () => open(item, button) } },
    frame,
    make("span", { class: "card-id" }, shown(item.id)),
    several ? make("span", { class: "card-group" }, shown(item.group)) : null,
    key ? scores : null,
    item.flags.map((flag) => make("span", { class: "flag" }, shown(flag))),
  );
  return make("li", {}, button);
}

/** Return the head of the list of cases. */
function makeListHead(table, several) {
  const heading = (text, numeric = false) =>
    make("th", { scope: "col", class: numeric ? "number" : null }, shown(text));
  const scores = Object.entries(table.scores).flatMap(([, name]) =>
    table.arms.map((arm) => heading(table.arms.length > 1 ? `${name}, ${arm}` : name, true)),
  );
  const group = several ? heading("Group") : null;
  return make(
    "thead",
    {},
    make("tr", {}, heading("Id"), group, heading("Foreground", true), scores, heading("Remarks")),
  );
}

/** Return a case as a row of the list. */
function makeListRow(item, table, { open, several }) {
  const press = { click: () => open(item, button) };
  const button = make("button", { type: "button", class: "link", on: press }, shown(item.id));
  const scores = Object.keys(table.scores).flatMap((key) =>
    table.arms.map((arm) => make("td", { class: "number" }, scoreText(scoreOf(item, arm, key)))),
  );
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, button),
    several ? make("td", {}, shown(item.group)) : null,
    make("td", { class: "number" }, shareText(item.size)),
    scores,
    make("td", {}, visible(item.flags.join("; "))),
  );
}
