// The attention heads of a case: the one that agrees most with the truth first, all of them on a click.

/** Return the positions of the heads: those with the highest agreement first, undefined ones last. */
function headOrder(maps) {
  const agreement = (head) => maps.agreement[head] ?? -1;
  return maps.heads.map((_, head) => head).sort((a, b) => agreement(b) - agreement(a) || a - b);
}

/** Return [lowest, highest] value of the colours for `head`: its own range, or that of all heads. */
function headRange(maps, head, scale) {
  if (scale === "own") return [maps.low[head] ?? 0, maps.high[head] ?? 0];
  return [Math.min(...maps.low.map((value) => value ?? 0)), Math.max(...maps.high.map((value) => value ?? 0))];
}

/** Paint the map of `head` from the decoded `sheet` on `canvas`, one pixel a patch. */
function paintHead(canvas, maps, sheet, head, scale) {
  const [rows, columns] = maps.grid;
  const values = sheet.values.subarray(head * rows * columns, (head + 1) * rows * columns);
  const [lowest, highest] = headRange(maps, head, scale);
  const low = maps.low[head] ?? 0;
  const high = maps.high[head] ?? 0;
  const range = highest - lowest || 1;
  paintValues(canvas, values, columns, rows, (255 * (low - lowest)) / range, (high - low) / range);
}

/** Return a value of attention as text, in multiples of uniform attention. */
function attentionText(value) {
  return `${value.toFixed(Math.abs(value) >= 10 ? 0 : 1)} ×`;
}

/**
 * Return {element, show, mark}: a panel with the heads of one case.
 *
 * `state.head` is the chosen head, `state.scale` "own" or "common", `state.allHeads` whether all are shown, and
 * `state.overlay` what lies above the image. `onPick(head)` is called when a head is pressed, `onScale()` when the
 * scale changes. `mark()` follows a change of the head or the overlay.
 */
function makeHeads(state, { onPick, onScale }) {
  let current = null; // {maps, sheet, picture} of the case that is shown
  const list = make("ul", { class: "heads-list" });
  const note = make("p", { class: "hint" });
  const more = make("button", { type: "button", class: "quiet", on: { click: () => toggle() } });
  const scale = makeSelect(
    "Colour scale",
    [["own", "own range of each head"], ["common", "same range for all heads"]],
    state.scale,
    (value) => {
      state.scale = value;
      draw();
      onScale();
    },
  );
  const element = make(
    "section",
    { class: "heads" },
    make("div", { class: "heads-bar" }, make("h3", {}, "Attention heads"), more, scale.element),
    list,
    note,
  );

  const toggle = () => {
    state.allHeads = !state.allHeads;
    draw();
  };
  const tile = (head) => {
    const { maps, sheet, picture } = current;
    const canvas = make("canvas", { class: "map" });
    paintHead(canvas, maps, sheet, head, state.scale);
    const contours = makeContours(picture.truth, classNames(picture), "truth");
    const outline = makeSvg(
      "svg",
      { viewBox: `0 0 ${picture.width} ${picture.height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      contours,
    );
    const frame = make("span", { class: "head-picture" }, canvas, outline);
    frame.style.aspectRatio = `${picture.width} / ${picture.height}`;
    const agreement = maps.agreement[head];
    const label = make(
      "span",
      { class: "head-label" },
      shown(maps.heads[head]),
      make("span", { class: "number" }, agreement === null ? "" : `agreement ${agreement.toFixed(2)}`),
    );
    return make("li", {}, make("button", { type: "button", on: { click: () => onPick(head) } }, frame, label));
  };
  const mark = () => {
    const order = current ? headOrder(current.maps) : [];
    [...list.querySelectorAll("button")].forEach((button, at) => {
      button.setAttribute("aria-pressed", String(state.overlay === "attention" && state.head === order[at]));
    });
  };
  const draw = () => {
    const { maps } = current;
    const order = headOrder(maps);
    const best = maps.best === null ? null : maps.heads[maps.best];
    note.textContent =
      best === null
        ? "Agreement with a ground truth is not defined for this case. The heads are in the order of the network."
        : `${visible(best)} agrees most with the ground truth. Agreement is |AUROC − 0.5|: 0 is none, 0.5 is perfect.`;
    more.hidden = order.length < 2;
    more.textContent = state.allHeads ? "Show only the first head" : `Show all ${order.length} heads`;
    more.setAttribute("aria-expanded", String(state.allHeads));
    scale.element.hidden = order.length < 2;
    list.replaceChildren(...(state.allHeads ? order : order.slice(0, 1)).map(tile));
    mark();
  };

  return {
    element,
    mark,
    /** Show the heads of `picture`, whose sheet is decoded. */
    show(picture, sheet) {
      current = { maps: picture.maps, sheet, picture };
      draw();
    },
  };
}
