// The bar with the ways from one sample to another, and their keys.

/**
 * Return {elements, set}: the controls of the bar.
 *
 * `count` is the number of samples. `go(at)` shows a sample, `unlabelled()` the next one without a mask. `set(at)`
 * tells the bar which sample is shown.
 */
function createSteps(count, { go, unlabelled }) {
  let current = 0;
  const step = (by) => go(Math.min(count - 1, Math.max(0, current + by)));
  const random = () => go(Math.floor(Math.random() * count));
  const button = (text, key, action, label = null) =>
    make("button", { type: "button", "aria-label": label, "aria-keyshortcuts": key, on: { click: action } }, text);
  const previous = button("←", "ArrowLeft", () => step(-1), "Previous sample");
  const next = button("→", "ArrowRight", () => step(1), "Next sample");
  const position = make("input", {
    type: "number",
    min: 0,
    max: count - 1,
    step: 1,
    required: true,
    inputmode: "numeric",
  });
  const form = make(
    "form",
    {
      class: "position",
      on: {
        submit: (event) => {
          event.preventDefault();
          go(Number(position.value));
        },
      },
    },
    make("label", { class: "field" }, make("span", {}, `Position, 0 to ${(count - 1).toLocaleString("en")}`), position),
  );
  const search = createSearch(go);
  const keys = {
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    u: unlabelled,
    r: random,
    "/": () => search.input.focus(),
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input:not([type=checkbox]), select, textarea, .scroll");
    if (typing || event.altKey || event.ctrlKey || event.metaKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  return {
    elements: [
      make("div", { class: "step-group" }, previous, form, next),
      make("div", { class: "step-group" }, button("Random", "r", random), button("Next without mask", "u", unlabelled)),
      search.element,
    ],
    set(at) {
      current = at;
      position.value = at;
      // `aria-disabled` instead of `disabled`: a disabled button would lose the focus.
      previous.setAttribute("aria-disabled", String(at <= 0));
      next.setAttribute("aria-disabled", String(at >= count - 1));
    },
  };
}
