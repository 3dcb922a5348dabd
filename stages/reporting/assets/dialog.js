// The enlarged case in a dialog: previous and next by button or arrow key, closed by Escape.

/**
 * Return {element, open}: a dialog around `view`, see `createCaseView`.
 *
 * `items()` gives the cases in the order of the grid, `complete(item)` the case with its picture. The browser moves the
 * focus into the dialog and back to the card when it closes.
 */
function createCaseDialog(view, { items, complete }) {
  let current = null;
  const title = make("h2", { id: "case-title", tabindex: -1 });
  const place = make("p", { class: "hint", role: "status" });
  const button = (text, label, action, kind = "quiet") =>
    make("button", { type: "button", class: kind, "aria-label": label, on: { click: action } }, text);
  const previous = button("←", "Previous case", () => step(-1));
  const next = button("→", "Next case", () => step(1));
  const close = button("Close", "Close, back to all cases", () => element.close());
  const head = make(
    "header",
    { class: "dialog-head" },
    make("div", { class: "dialog-title" }, title, place),
    make("div", { class: "dialog-steps" }, previous, next, close),
  );
  const element = make("dialog", { class: "case-dialog", "aria-labelledby": "case-title" }, head, view.element);

  const show = (item) => {
    const all = items();
    const at = all.indexOf(item);
    current = item;
    title.replaceChildren(shown(item.id));
    place.textContent = `${(at + 1).toLocaleString("en")} of ${countText(all.length, "case", "cases")}`;
    // `aria-disabled` instead of `disabled`: a disabled button would lose the focus.
    previous.setAttribute("aria-disabled", String(at <= 0));
    next.setAttribute("aria-disabled", String(at >= all.length - 1));
    view.show(complete(item));
  };
  const step = (by) => {
    const all = items();
    const item = all[all.indexOf(current) + by];
    if (item) show(item);
  };
  element.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, .scroll") || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else return;
    event.preventDefault();
  });
  element.addEventListener("click", (event) => {
    // The dimmed area around the dialog belongs to it, and so does its padding, which must not close it.
    const box = element.getBoundingClientRect();
    const outside =
      event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
    if (event.target === element && outside) element.close();
  });
  return {
    element,
    open(item) {
      element.showModal(); // first, so that the view can measure itself
      show(item);
      title.focus();
      element.scrollTop = 0;
    },
  };
}
