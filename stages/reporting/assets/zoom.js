// Enlarge and move what lies on a stage: buttons, double click, pinch, Ctrl and the wheel, drag.

const LARGEST_ZOOM = 12;

/** Return {element, reset}: buttons that enlarge `inner` inside `stage`. */
function makeZoom(stage, inner) {
  let scale = 1;
  let left = 0; // shift of the upper left corner, in pixels of the screen
  let top = 0;
  const pointers = new Map();

  const apply = () => {
    const box = stage.getBoundingClientRect();
    left = Math.min(0, Math.max(box.width * (1 - scale), left));
    top = Math.min(0, Math.max(box.height * (1 - scale), top));
    inner.style.transform = scale === 1 ? "" : `translate(${left}px, ${top}px) scale(${scale})`;
    stage.classList.toggle("zoomed", scale > 1);
  };
  const zoomTo = (wanted, x, y) => {
    const next = Math.min(LARGEST_ZOOM, Math.max(1, wanted));
    left = x - ((x - left) * next) / scale;
    top = y - ((y - top) * next) / scale;
    scale = next;
    apply();
  };
  const zoomBy = (factor) => {
    const box = stage.getBoundingClientRect();
    zoomTo(scale * factor, box.width / 2, box.height / 2);
  };
  const at = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the dialog
    event.preventDefault();
    zoomTo(scale * Math.exp(-event.deltaY / 200), ...at(event));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => zoomTo(scale > 1 ? 1 : 3, ...at(event)));
  stage.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, at(event));
    if (scale > 1) stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = at(event);
    const other = [...pointers].find(([id]) => id !== event.pointerId);
    if (other) {
      const distance = (point) => Math.hypot(point[0] - other[1][0], point[1] - other[1][1]);
      const middle = [(now[0] + other[1][0]) / 2, (now[1] + other[1][1]) / 2];
      zoomTo((scale * distance(now)) / Math.max(1, distance(before)), ...middle);
    } else if (scale > 1) {
      left += now[0] - before[0];
      top += now[1] - before[1];
      apply();
    }
    pointers.set(event.pointerId, now);
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
    stage.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }

  const reset = () => {
    scale = 1;
    apply();
  };
  const button = (text, label, action) =>
    make("button", { type: "button", class: "quiet", "aria-label": label, on: { click: action } }, text);
  const element = make(
    "div",
    { class: "zoom", role: "group", "aria-label": "Zoom" },
    button("−", "Zoom out", () => zoomBy(1 / 1.6)),
    button("Fit", "Show the whole picture", reset),
    button("+", "Zoom in", () => zoomBy(1.6)),
  );
  return { element, reset };
}
