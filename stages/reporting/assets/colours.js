// Colours of maps, of errors and of classes.

// Points of matplotlib's viridis (Smith and van der Walt 2015), evenly spaced from low to high. It is perceptually
// uniform: equal steps in value look like equal steps in colour, also to colour-blind readers and in grey.
const VIRIDIS = [
  "440154", "48186a", "472d7b", "424086", "3b528b", "33638d", "2c728e", "26828e", "21918c",
  "1fa088", "28ae80", "3fbc73", "5ec962", "84d44b", "addc30", "d8e219", "fde725",
];

// Okabe and Ito 2008: safe for colour-blind readers. What only the truth marks is blue (a false negative), what only
// the prediction marks is orange (a false positive), what both mark is green.
const ERROR_COLOURS = { both: "#009e73", onlyPrediction: "#e69f00", onlyTruth: "#56b4e9" };

// Classes of a task with more than one class, in the order of their names in the case.
const CLASS_COLOURS = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#0072b2", "#ffffff"];

/** Return viridis as 256 colours of red, green and blue: a Uint8ClampedArray of 768 values. */
const viridisTable = (() => {
  const points = VIRIDIS.map((text) => [0, 2, 4].map((at) => parseInt(text.slice(at, at + 2), 16)));
  const table = new Uint8ClampedArray(768);
  for (let value = 0; value < 256; value += 1) {
    const position = (value / 255) * (points.length - 1);
    const below = Math.min(Math.floor(position), points.length - 2);
    const part = position - below;
    for (let channel = 0; channel < 3; channel += 1) {
      table[3 * value + channel] = points[below][channel] * (1 - part) + points[below + 1][channel] * part;
    }
  }
  return table;
})();

/** Return the legend's entry of the class `name`, at position `at` of all classes. */
function classKey(name, at) {
  const mark = make("span", { class: "swatch class", "aria-hidden": "true" });
  mark.style.setProperty("--swatch", CLASS_COLOURS[at % CLASS_COLOURS.length]);
  return make("span", { class: "key" }, mark, shown(name));
}

/** Paint viridis from low (left) to high (right) on `canvas`, as a legend. */
function paintLegend(canvas) {
  canvas.width = 256;
  canvas.height = 1;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(256, 1);
  for (let value = 0; value < 256; value += 1) {
    pixels.data.set([...viridisTable.subarray(3 * value, 3 * value + 3), 255], 4 * value);
  }
  context.putImageData(pixels, 0, 0);
}

/** Return a legend: the colours with the lowest value on the left and the highest on the right, and the unit. */
function makeLegend() {
  const canvas = make("canvas", { class: "legend-colours", role: "img", "aria-label": "viridis, from dark to bright" });
  const low = make("span");
  const high = make("span");
  const unit = make("span", { class: "legend-unit" });
  paintLegend(canvas);
  const element = make("div", { class: "legend" }, low, canvas, high, unit);
  return {
    element,
    set(lowest, highest, unitText) {
      low.textContent = lowest;
      high.textContent = highest;
      unit.textContent = unitText;
    },
  };
}
