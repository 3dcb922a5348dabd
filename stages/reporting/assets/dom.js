// Small helpers to build elements and to write values as text.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

/**
 * Return a new HTML element.
 *
 * Strings among `children` become text nodes, so that no value is ever read as HTML. Attributes that are null or false
 * are left out; true gives an empty attribute. `on` maps names of events to listeners.
 */
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Return a new SVG element, built like `make` does. */
function makeSvg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG_NAMESPACE, tag), attributes, children);
}

function fill(node, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/**
 * Return `text` with characters that cannot be seen written as escapes, such as \u202e.
 *
 * These are control characters, marks that change the direction of text, zero-width characters, and halves of
 * surrogate pairs. An id that holds one must not look like another id.
 */
function visible(text) {
  return String(text).replace(
    /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Surrogate}/gu,
    (character) => "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

/** Return an element that shows `text` apart from the direction of the text around it. */
function shown(text, attributes = {}) {
  return make("bdi", attributes, visible(text));
}

/** Return a score as text: three decimals up to 1, two above, none from 100 on; a dash for null. */
function scoreText(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size > 1 ? 2 : 3);
}

/** Return a share of 0 to 1 in per cent; a dash for null. */
function shareText(value) {
  if (value === null || value === undefined) return "–";
  const percent = 100 * value;
  return `${percent.toFixed(percent >= 10 || percent === 0 ? 0 : percent >= 1 ? 1 : 2)} %`;
}

/** Return "1 case" or "12,345 cases". */
function countText(count, singular, plural) {
  return `${count.toLocaleString("en")} ${count === 1 ? singular : plural}`;
}

/** Return `table` in an area of its own that scrolls sideways, also by the keyboard. */
function makeScrolling(label, table) {
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, table);
}

/** Return a labelled `<select>`. `choices` are [value, text] pairs. */
function makeSelect(label, choices, value, onChange) {
  const select = make(
    "select",
    { on: { change: () => onChange(select.value) } },
    choices.map(([key, text]) => make("option", { value: key, selected: key === value }, visible(text))),
  );
  return { element: make("label", { class: "field" }, make("span", {}, label), select), select };
}

/** Return a labelled check box or radio button. `swatch` is a class that shows the colour of what it switches. */
function makeSwitch(kind, label, { name = null, checked = false, swatch = null, onChange }) {
  const input = make("input", { type: kind, name, checked, on: { change: () => onChange(input.checked) } });
  const mark = swatch ? make("span", { class: `swatch ${swatch}`, "aria-hidden": "true" }) : null;
  return { element: make("label", { class: "switch" }, input, mark, make("span", {}, label)), input };
}
