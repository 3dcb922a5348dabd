// One case, enlarged: the image in its own aspect, layers above it, its scores, its attention heads.

/**
 * Return {element, show, chooseHead, state} that draws one case at a time.
 *
 * `arms` are the names of the runs, the first is shown first. `scores` maps keys of scores to headings. `show(item)`
 * takes the JSON that `stages/reporting/serialise.py` describes. The reader's choice of layers stays when the case
 * changes. The report and `pipeline view` both use this.
 *
 * `classes` are the names of the classes of all cases, if they are known: each has one colour. `start` replaces values
 * of the first state, such as the overlay. `onHead(head)` is called with the head above the image, or null.
 * `chooseHead(head)` shows a head, as a click on it does.
 */
function createCaseView({ arms, scores, classes = [], start = {}, onHead = () => {} }) {
  const state = {
    arm: arms[0] ?? "",
    truth: true,
    prediction: true,
    overlay: "none",
    opacity: 0.6,
    head: 0,
    scale: "own",
    allHeads: false,
    keepHead: false, // when the case changes; else the head that agrees most is chosen
    ...start,
  };
  let item = null;
  let sheet = null; // promise of the decoded maps of the case

  const image = make("img", { alt: "" });
  const overlay = make("canvas", { class: "overlay", "aria-hidden": "true" });
  const drawing = makeSvg("svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
  const inner = make("div", { class: "stage-inner" }, image, overlay, drawing);
  const stage = make("div", { class: "stage", role: "img" }, inner);
  const zoom = makeZoom(stage, inner);
  const failure = make("p", { class: "hint", role: "status" });
  const legend = make("div", { class: "case-legend" });
  const colours = makeLegend();
  const controls = makeCaseControls(arms, state, () => draw());
  const heads = makeHeads(state, { onPick: (head) => chooseHead(head), onScale: () => draw() });
  const figures = make("div", { class: "case-figures" });
  const stageArea = make(
    "div",
    { class: "case-stage" },
    make("div", { class: "stage-frame" }, stage, zoom.element),
    legend,
    failure,
  );
  const side = make("div", { class: "case-side" }, controls.element, figures);
  const element = make("div", { class: "case-view" }, stageArea, side, heads.element);

  const chooseHead = (head) => {
    state.head = head;
    state.overlay = "attention";
    draw();
  };

  /** Draw what the state asks for. Decoded data that arrives after a change of the case is dropped. */
  const draw = async () => {
    const { picture } = item;
    if (!picture) return;
    const drawn = item;
    controls.update(item);
    heads.mark();
    onHead(state.overlay === "attention" ? state.head : null);
    const names = classNames(picture);
    drawing.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
    drawing.replaceChildren(
      ...(state.truth ? [makeContours(picture.truth, names, "truth")] : []),
      ...(state.prediction ? [makeContours(picture.predictions[state.arm] || [], names, "prediction")] : []),
    );
    const kind = overlaysOf(item, state.arm).has(state.overlay) ? state.overlay : "none";
    describe(picture, names, kind);
    try {
      await paintOverlay(picture, kind, () => drawn === item);
    } catch (error) {
      if (drawn === item) failure.textContent = error.message;
    }
  };

  /** Paint the colours above the image, unless `current` says that another case is shown by now. */
  const paintOverlay = async (picture, kind, current) => {
    if (kind === "errors") {
      paintErrors(overlay, picture, state.arm);
    } else if (kind === "probability") {
      const grey = await loadGrey(picture.probability[state.arm]);
      if (!current() || state.overlay !== kind) return;
      paintValues(overlay, grey.values, grey.width, grey.height);
    } else if (kind === "attention") {
      const decoded = await sheet;
      if (!current() || state.overlay !== kind) return;
      paintHead(overlay, picture.maps, decoded, state.head, state.scale);
    }
    overlay.hidden = kind === "none";
    overlay.className = `overlay ${kind}`;
    overlay.style.opacity = String(state.opacity);
  };

  /** Write the legend below the image and the text that stands for the image. */
  const describe = (picture, names, kind) => {
    const entries = [];
    const entry = (swatch, text) => {
      const mark = make("span", { class: `swatch ${swatch}`, "aria-hidden": "true" });
      entries.push(make("span", { class: "key" }, mark, shown(text)));
    };
    if (kind === "errors") {
      entry("both", "both (true positive)");
      entry("only-prediction", "only predicted (false positive)");
      entry("only-truth", "only in the truth (false negative)");
    } else if (names.length > 1) {
      entries.push(...names.map(classKey));
      entries.push(make("span", { class: "key" }, "solid: truth, dashed: prediction"));
    }
    if (kind === "probability") colours.set("0", "1", "probability of not being background");
    if (kind === "attention") {
      const [low, high] = headRange(picture.maps, state.head, state.scale);
      colours.set(attentionText(low), attentionText(high), "uniform attention");
      entries.push(make("span", { class: "key" }, "head ", shown(picture.maps.heads[state.head])));
    }
    const usesColours = kind === "probability" || kind === "attention";
    stage.classList.toggle("measured", usesColours);
    legend.replaceChildren(...entries, ...(usesColours ? [colours.element] : []));
    const layers = OVERLAYS.find(([key]) => key === kind)[1].toLowerCase();
    const words = [layers, ...entries.map((one) => one.textContent)].join("; ");
    stage.setAttribute("aria-label", `Case ${visible(item.id)}: ${words}`);
  };

  const show = (next) => {
    item = next;
    failure.textContent = "";
    figures.replaceChildren(...makeScores(item, arms, scores));
    const { picture } = item;
    if (picture && classes.length) picture.classes = classes;
    stageArea.hidden = controls.element.hidden = !picture;
    heads.element.hidden = !picture?.maps;
    element.classList.toggle("listed", !picture);
    element.classList.toggle("several-classes", Boolean(picture) && classNames(picture).length > 1);
    zoom.reset();
    if (!picture) return;
    image.src = picture.image;
    overlay.hidden = true;
    stage.parentElement.style.setProperty("--aspect", String(picture.width / picture.height));
    if (picture.maps) {
      const shownItem = item;
      if (!state.keepHead) state.head = picture.maps.best ?? 0;
      sheet = loadGrey(picture.maps.sheet);
      sheet.then((decoded) => shownItem === item && heads.show(picture, decoded)).catch(() => {
        if (shownItem === item) failure.textContent = "The attention maps cannot be decoded.";
      });
    }
    draw();
  };
  return { element, show, chooseHead, state };
}

const LONG_ID = 60;

/** Return the facts and the table of scores of one case. */
function makeScores(item, arms, scores) {
  const facts = [
    ["Id", item.id.length > LONG_ID ? item.id : ""], // the title may cut it
    ["Group", item.group === item.id ? "" : item.group],
    ["Image", item.width && item.height ? `${item.width} × ${item.height} px` : ""],
    ["Foreground", item.size === null ? "" : shareText(item.size)],
  ].filter(([, value]) => value);
  const pairs = facts.map(([label, value]) =>
    make("div", {}, make("dt", {}, label), make("dd", {}, shown(value))),
  );
  const parts = [make("dl", { class: "case-facts" }, pairs)];
  if (item.flags.length) parts.push(makeFlags(item.flags));
  const keys = Object.keys(scores);
  const rows = arms.filter((arm) => item.scores[arm]);
  if (keys.length && rows.length) {
    const names = rows.map((arm) => make("th", { scope: "col", class: "number" }, shown(arm)));
    const head = make("tr", {}, make("th", { scope: "col" }, "Run"), names);
    const body = keys.map((key) =>
      make(
        "tr",
        {},
        make("th", { scope: "row" }, shown(scores[key])),
        rows.map((arm) => make("td", { class: "number" }, scoreText(item.scores[arm][key]))),
      ),
    );
    const title = "Scores of this case";
    const caption = make("caption", {}, title);
    const table = make("table", {}, caption, make("thead", {}, head), make("tbody", {}, body));
    parts.push(makeScrolling(title, table));
  }
  if (!item.picture) parts.push(make("p", { class: "hint" }, "This case is listed without a picture."));
  return parts;
}

/** Return the flags of a case as a list. */
function makeFlags(flags) {
  return make("ul", { class: "flags", "aria-label": "Remarks" }, flags.map((flag) => make("li", {}, shown(flag))));
}
