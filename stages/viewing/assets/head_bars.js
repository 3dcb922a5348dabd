// How well each head agrees with the mask, as bars: the best head first. A click shows the head.

const LARGEST_AGREEMENT = 0.5; // |AUROC − 0.5|

/** Return {element, show, mark}. `onPick(head)` is called when a bar is pressed; `onKeep(kept)` when the switch is. */
function createHeadBars({ onPick, onKeep }) {
  let order = [];
  const list = make("ul", { class: "bars" });
  const hint = make("p", { class: "hint" }, "Not defined without a mask. The heads are in the order of the network.");
  const keep = makeSwitch("checkbox", "Keep the head for other samples", { onChange: onKeep });
  const element = make(
    "section",
    { class: "head-bars", "aria-labelledby": "bars-title" },
    make("h3", { id: "bars-title" }, "Agreement with the mask"),
    list,
    hint,
    keep.element,
  );

  const bar = (maps, head) => {
    const agreement = maps.agreement[head];
    const filled = make("span", { class: "bar-fill" });
    filled.style.width = `${(100 * (agreement ?? 0)) / LARGEST_AGREEMENT}%`;
    return make(
      "li",
      {},
      make(
        "button",
        { type: "button", "aria-pressed": "false", on: { click: () => onPick(head) } },
        shown(maps.heads[head], { class: "bar-name" }),
        make("span", { class: "bar-track", "aria-hidden": "true" }, filled),
        make("span", { class: "number" }, agreement === null ? "–" : agreement.toFixed(2)),
      ),
    );
  };
  return {
    element,
    /** Show the heads of one case. */
    show(maps) {
      order = headOrder(maps);
      list.replaceChildren(...order.map((head) => bar(maps, head)));
      hint.hidden = maps.best !== null;
    },
    /** Mark the chosen head. */
    mark(head) {
      [...list.querySelectorAll("button")].forEach((button, at) => {
        button.setAttribute("aria-pressed", String(order[at] === head));
      });
    },
  };
}
