// The controls of one case: which contours, which colours above the image, how opaque.

const OVERLAYS = [
  ["none", "Image only"],
  ["errors", "Agreement and errors"],
  ["probability", "Probability"],
  ["attention", "Attention"],
];
const PREDICTED = new Set(["errors", "probability"]);
let controlGroups = 0; // gives the radio buttons of each view a name of their own

/**
 * Return {element, update}: the controls that change `state` and call `onChange`.
 *
 * state: {arm, truth, prediction, overlay, opacity}. `arms` are the names of all runs of the table.
 */
function makeCaseControls(arms, state, onChange) {
  controlGroups += 1;
  const group = `overlay-${controlGroups}`;
  const change = (key) => (value) => {
    state[key] = value;
    onChange();
  };
  const truth = makeSwitch("checkbox", "Ground truth", {
    checked: state.truth,
    swatch: "line truth",
    onChange: change("truth"),
  });
  const prediction = makeSwitch("checkbox", "Prediction", {
    checked: state.prediction,
    swatch: "line prediction",
    onChange: change("prediction"),
  });
  const run = makeSelect("Run", arms.map((arm) => [arm, arm]), state.arm, change("arm"));
  run.element.hidden = arms.length < 2;
  prediction.element.hidden = !arms.length; // a store has no predictions
  const overlays = OVERLAYS.map(([key, label]) => [
    key,
    makeSwitch("radio", label, { name: group, checked: state.overlay === key, onChange: () => change("overlay")(key) }),
  ]);
  for (const [key, one] of overlays) one.element.hidden = !arms.length && PREDICTED.has(key);
  const slider = make("input", {
    type: "range",
    min: 0,
    max: 100,
    step: 5,
    value: Math.round(100 * state.opacity),
    on: { input: () => change("opacity")(slider.value / 100) },
  });
  const opacity = make("label", { class: "field" }, make("span", {}, "Opacity"), slider);
  const element = make(
    "div",
    { class: "case-controls" },
    run.element,
    make("fieldset", {}, make("legend", {}, "Contours"), truth.element, prediction.element),
    make("fieldset", {}, make("legend", {}, "Colours"), ...overlays.map(([, one]) => one.element), opacity),
  );

  return {
    element,
    /** Enable what the picture of `item` offers, and show the state, which the view may have changed. */
    update(item) {
      const { picture } = item;
      const offered = overlaysOf(item, state.arm);
      for (const [key, one] of overlays) {
        one.input.checked = state.overlay === key;
        one.input.disabled = !offered.has(key);
      }
      truth.input.disabled = picture.truth.length === 0;
      prediction.input.disabled = !(picture.predictions[state.arm] || []).length;
      slider.disabled = state.overlay === "none";
    },
  };
}

/** Return the keys of the overlays that `item` has the data for. A mask without foreground is a truth, too. */
function overlaysOf(item, arm) {
  const { picture } = item;
  const keys = new Set(["none"]);
  const labelled = picture.truth.length > 0 || item.size !== null;
  if (labelled && picture.predictions[arm]) keys.add("errors");
  if (picture.probability[arm]) keys.add("probability");
  if (picture.maps) keys.add("attention");
  return keys;
}
