// The layers of one case: contours as SVG; errors, probability and attention on canvases.

const ERRORS_LONG_SIDE = 1024; // pixels of the canvas of errors; paths stay sharp when they are enlarged

/** Return a promise of the decoded image at `address`, a data: or blob: URI. */
function loadImage(address) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("The picture cannot be decoded."));
    image.src = address;
  });
}

/** Return a promise of {width, height, values}: the grey image at `address`, 8 bits a pixel, row by row. */
async function loadGrey(address) {
  const image = await loadImage(address);
  const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const values = new Uint8Array(canvas.width * canvas.height);
  for (let at = 0; at < values.length; at += 1) values[at] = data[4 * at];
  return { width: canvas.width, height: canvas.height, values };
}

/**
 * Paint grey `values` of 0 to 255 on `canvas` in viridis, one pixel a value.
 *
 * A value v becomes the colour at `offset` + `factor` · v, limited to 0 to 255.
 */
function paintValues(canvas, values, width, height, offset = 0, factor = 1) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let at = 0; at < width * height; at += 1) {
    const level = Math.max(0, Math.min(255, Math.round(offset + factor * values[at])));
    pixels.data[4 * at] = viridisTable[3 * level];
    pixels.data[4 * at + 1] = viridisTable[3 * level + 1];
    pixels.data[4 * at + 2] = viridisTable[3 * level + 2];
    pixels.data[4 * at + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
}

/** Return the path of class `name` in `shapes`, or "". */
function pathOf(shapes, name) {
  const shape = shapes.find((one) => one.name === name);
  return shape ? shape.path : "";
}

/**
 * Return the names of the classes of a picture.
 *
 * `picture.classes` holds those of all cases, if they are known, so that a class has the same colour in each of them.
 * Else the names are in the order in which they first appear in the picture.
 */
function classNames(picture) {
  if (picture.classes?.length) return picture.classes;
  const names = new Set(picture.truth.map((shape) => shape.name));
  for (const shapes of Object.values(picture.predictions)) for (const shape of shapes) names.add(shape.name);
  return [...names];
}

/**
 * Paint where truth and prediction of `arm` agree and differ.
 *
 * Areas are filled by the even-odd rule, so that holes stay holes. A pixel of the wrong class is a false positive for
 * one class and a false negative for the other; it is shown as a false positive. Ignored pixels stay clear.
 */
function paintErrors(canvas, picture, arm) {
  const scale = ERRORS_LONG_SIDE / Math.max(picture.width, picture.height);
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);

  const scratch = make("canvas", { width: canvas.width, height: canvas.height });
  const area = scratch.getContext("2d");
  const prediction = picture.predictions[arm] || [];
  const draw = (path, mode, colour) => {
    area.globalCompositeOperation = mode;
    area.fillStyle = colour;
    area.setTransform(canvas.width / picture.width, 0, 0, canvas.height / picture.height, 0, 0);
    area.fill(new Path2D(path), "evenodd");
  };
  const combine = (first, mode, second, colour) => {
    if (!first || (mode === "destination-in" && !second)) return; // browsers differ in what filling nothing clears
    area.setTransform(1, 0, 0, 1, 0, 0);
    area.clearRect(0, 0, scratch.width, scratch.height);
    draw(first, "source-over", colour);
    if (second) draw(second, mode, colour);
    if (picture.ignored) draw(picture.ignored, "destination-out", colour);
    context.drawImage(scratch, 0, 0);
  };
  const names = classNames(picture);
  for (const [first, mode, colour] of [
    ["truth", "destination-out", ERROR_COLOURS.onlyTruth],
    ["prediction", "destination-out", ERROR_COLOURS.onlyPrediction],
    ["truth", "destination-in", ERROR_COLOURS.both],
  ]) {
    for (const name of names) {
      const paths = [pathOf(picture.truth, name), pathOf(prediction, name)];
      if (first === "prediction") paths.reverse();
      combine(paths[0], mode, paths[1], colour);
    }
  }
}

/**
 * Return an SVG group with the contours of `shapes`.
 *
 * With one class the contour has the colour of `role`, "truth" or "prediction". With more it has the colour of its
 * class, and the contours of a prediction are dashed. A dark line below makes it visible on every image.
 */
function makeContours(shapes, names, role) {
  const several = names.length > 1;
  const lines = shapes.filter((shape) => shape.path).flatMap((shape) => [
    makeSvg("path", { d: shape.path, class: "contour-edge" }),
    makeSvg("path", {
      d: shape.path,
      class: `contour ${role}${several && role === "prediction" ? " dashed" : ""}`,
      stroke: several ? CLASS_COLOURS[names.indexOf(shape.name) % CLASS_COLOURS.length] : null,
    }),
  ]);
  return makeSvg("g", { class: `contours ${role}${several ? " several" : ""}` }, lines);
}

/** Return an SVG of `picture`: the image, and above it the contours of the truth and of `arm`. */
function makeThumbnail(picture, arm) {
  const names = classNames(picture);
  const { width, height } = picture;
  return makeSvg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, class: "thumbnail", "aria-hidden": "true" },
    makeSvg("image", { href: picture.image, width, height, preserveAspectRatio: "none" }),
    makeContours(picture.truth, names, "truth"),
    makeContours(picture.predictions[arm] || [], names, "prediction"),
  );
}
