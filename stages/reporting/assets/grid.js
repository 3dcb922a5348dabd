// The cases of a report: controls to sort and filter, a grid of pictures or a list, shown in portions.

const PORTION = { grid: 48, list: 200 };
const LARGEST_CHOICE = 300; // more groups than this are found by text instead of a list

/**
 * Return {element, items, show}: all cases of `table`.
 *
 * `pictureOf(item)` gives the picture of a case, `open(item, button)` enlarges it. Only one portion of the cases is put
 * into the document; a picture is decoded when its card comes near the screen.
 */
function createCaseGrid(table, { pictureOf, open }) {
  // Without groups each case is a group of its own, under the case's id or under no name.
  const grouped = table.cases.some((item) => item.group && item.group !== item.id);
  const groups = grouped ? [...new Set(table.cases.map((item) => item.group))] : [];
  if (groups.length <= LARGEST_CHOICE) groups.sort(compareIds);
  const flags = [...new Set(table.cases.flatMap((item) => item.flags))].sort(compareIds);
  const withPicture = table.cases.filter((item) => item.picture !== null).length;
  const mixed = withPicture > 0 && withPicture < table.cases.length;
  const state = {
    order: orderChoices(table)[0][0],
    arm: table.arms[0] ?? "",
    kind: withPicture > 0 ? "grid" : "list",
    filter: { text: "", group: "", flag: "", pictures: mixed },
  };
  let items = []; // the cases that pass the filters, in order
  let shownCount = 0;

  const several = groups.length > 1;
  const count = make("p", { class: "count", role: "status" });
  const legend = make("p", { class: "cards-legend" });
  const holder = make("div", { class: "case-holder" });
  const more = make("button", { type: "button", class: "more no-print", on: { click: () => extend() } });

  const waiting = new Map();
  const observer = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => drawPicture(entry.target)),
    { rootMargin: "600px" },
  );
  const watch = (frame, item) => {
    waiting.set(frame, item);
    observer.observe(frame);
  };
  const drawPicture = (frame) => {
    const item = waiting.get(frame);
    if (!item) return;
    waiting.delete(frame);
    observer.unobserve(frame);
    frame.append(makeThumbnail(pictureOf(item), state.arm));
  };

  const extend = () => {
    const next = items.slice(shownCount, shownCount + PORTION[state.kind]);
    const options = { open, several, watch };
    const target = holder.querySelector("ul, tbody");
    const rows = next.map((item) => (state.kind === "grid" ? makeCard : makeListRow)(item, table, options));
    target.append(...rows);
    if (shownCount > 0) rows[0]?.querySelector("button").focus({ preventScroll: true });
    shownCount += next.length;
    const rest = items.length - shownCount;
    more.hidden = rest === 0;
    more.textContent = `Show ${Math.min(rest, PORTION[state.kind]).toLocaleString("en")} more`;
    const total = countText(table.cases.length, "case", "cases");
    const matching = countText(items.length, "matching case", "matching cases");
    count.textContent =
      items.length === table.cases.length && rest === 0
        ? total
        : `${shownCount.toLocaleString("en")} of ${matching} shown, ${total} in all`;
  };
  const render = () => {
    items = sortCases(filterCases(table.cases, state.filter), state.order, state.arm, table);
    shownCount = 0;
    waiting.clear();
    observer.disconnect();
    legend.hidden = state.kind !== "grid";
    legend.replaceChildren(...cardKeys(table, state.arm));
    if (items.length === 0) {
      const hint = "No case matches. Clear the text or choose other filters.";
      holder.replaceChildren(make("p", { class: "empty" }, hint), make("ul"));
    } else if (state.kind === "grid") {
      const cards = make("ul", { class: "cards" });
      cards.style.setProperty("--card-aspect", String(cardAspect(items)));
      holder.replaceChildren(cards);
    } else {
      const caption = make("caption", { class: "visually-hidden" }, "Cases");
      const list = make("table", { class: "case-list" }, caption, makeListHead(table, several), make("tbody"));
      holder.replaceChildren(makeScrolling("List of cases", list));
    }
    extend();
  };

  const bar = makeGridBar(table, state, { groups, flags, mixed, withPicture, render });
  const line = make("div", { class: "count-line" }, count, legend);
  const element = make("div", { class: "case-grid" }, bar, line, holder, more);
  window.addEventListener("beforeprint", () => [...waiting.keys()].forEach(drawPicture));
  render();
  return { element, items: () => items };
}

/** Return what the lines and the figures of the cards mean. */
function cardKeys(table, arm) {
  const key = (line, text) =>
    make("span", { class: "key" }, make("span", { class: `swatch line ${line}`, "aria-hidden": "true" }), shown(text));
  const score = Object.values(table.scores)[0];
  const prediction = table.arms.length > 1 ? `prediction of ${arm}` : "prediction";
  const lines =
    table.classes.length > 1
      ? [...table.classes.map(classKey), make("span", {}, "solid: ground truth, dashed: ", shown(prediction))]
      : [key("truth", "ground truth"), arm ? key("prediction", prediction) : null];
  return [
    ...lines,
    table.arms.length > 1 && score ? make("span", {}, "numbers: ", shown(score)) : null,
  ].filter(Boolean);
}

/** Return width / height of the cards' pictures: the median of the images, within 3 : 4 and 3 : 2. */
function cardAspect(items) {
  const aspects = items.filter((item) => item.width > 0 && item.height > 0).map((item) => item.width / item.height);
  aspects.sort((a, b) => a - b);
  return Math.min(1.5, Math.max(0.75, aspects[Math.floor(aspects.length / 2)] ?? 1));
}

/** Return the controls of the grid. They change `state` and call `render`. */
function makeGridBar(table, state, { groups, flags, mixed, withPicture, render }) {
  const filter = (key) => (value) => {
    state.filter[key] = value;
    render();
  };
  const choose = (key) => (value) => {
    state[key] = value;
    render();
  };
  const search = make("input", {
    type: "search",
    placeholder: "part of an id or group",
    on: { input: () => filter("text")(search.value) },
  });
  const same = (texts) => texts.map((text) => [text, text]);
  const parts = [
    make("label", { class: "field search" }, make("span", {}, "Find"), search),
    makeSelect("Order", orderChoices(table), state.order, choose("order")).element,
  ];
  if (table.arms.length > 1) {
    parts.push(makeSelect("Run", same(table.arms), state.arm, choose("arm")).element);
  }
  if (groups.length > 1 && groups.length <= LARGEST_CHOICE) {
    const choices = [["", "all"], ...same(groups.filter(Boolean))];
    parts.push(makeSelect("Group", choices, "", filter("group")).element);
  }
  if (flags.length) {
    parts.push(makeSelect("Remark", [["", "any or none"], ...same(flags)], "", filter("flag")).element);
  }
  if (withPicture > 0) {
    parts.push(makeSelect("Show as", [["grid", "pictures"], ["list", "list"]], state.kind, choose("kind")).element);
  }
  if (mixed) {
    const only = makeSwitch("checkbox", "Only cases with a picture", { checked: true, onChange: filter("pictures") });
    parts.push(only.element);
  }
  return make("div", { class: "grid-bar no-print", role: "group", "aria-label": "Sort and filter the cases" }, parts);
}
