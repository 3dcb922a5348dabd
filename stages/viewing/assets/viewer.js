// Start the viewer: one sample at a time. The position is kept in the address, behind #.

const content = document.getElementById("content");

/** Return the position in the address, within the store; 0 if there is none. */
function positionInAddress(count) {
  return /^#\d+$/.test(location.hash) ? Math.min(count - 1, Number(location.hash.slice(1))) : 0;
}

/** Show a message in place of everything else. */
function showOnly(text, kind = "failure") {
  content.replaceChildren(make("p", { class: kind, role: "alert" }, visible(text)));
}

function startViewer(store) {
  const samples = createSamples();
  const bars = createHeadBars({
    onPick: (head) => view.chooseHead(head),
    onKeep: (kept) => {
      view.state.keepHead = kept;
    },
  });
  const view = createCaseView({
    arms: store.runs,
    scores: store.runs.length ? { dice: "Dice" } : {},
    start: { overlay: "attention", allHeads: true },
    onHead: (head) => bars.mark(head),
  });
  view.element.querySelector(".case-side").append(bars.element);
  const title = make("h2", { class: "sample-title" });
  const place = make("p", { class: "hint", role: "status" });
  const failure = make("p", { class: "failure", role: "alert", hidden: true });
  content.replaceChildren(make("div", { class: "sample-head" }, title, place), failure, view.element);

  const fail = (message) => {
    failure.textContent = visible(message);
    failure.hidden = false;
  };
  const describe = (at, id) => {
    title.replaceChildren(id === null ? `Sample ${at}` : shown(id));
    const all = countText(store.samples, "sample", "samples");
    place.textContent = `Position ${at.toLocaleString("en")}; the store has ${all}, counted from 0`;
    document.title = `${id === null ? at : visible(id)} · ${visible(store.name)}`;
  };
  const load = async (at) => {
    try {
      const { case: item } = await samples.get(at);
      failure.hidden = true;
      describe(at, item.id);
      bars.show(item.picture.maps);
      view.show(item);
      view.element.hidden = false;
    } catch (error) {
      view.element.hidden = true;
      describe(at, error.details?.id ?? null);
      fail(error.message);
    }
  };

  let shownAt = null;
  let wanted = null;
  let busy = false;
  /** Show a sample. While one is loading only the last of the wanted ones is remembered, as when a key is held down. */
  const go = async (at) => {
    const forward = shownAt === null || at >= shownAt;
    shownAt = wanted = at;
    steps.set(at);
    history.replaceState(null, "", `#${at}`);
    if (busy) return;
    busy = true;
    content.setAttribute("aria-busy", "true");
    while (wanted !== null) {
      const now = wanted;
      wanted = null;
      await load(now);
    }
    content.removeAttribute("aria-busy");
    busy = false;
    const following = shownAt + (forward ? 1 : -1);
    if (following >= 0 && following < store.samples) samples.get(following).catch(() => {}); // it is shown at once then
  };
  const unlabelled = async () => {
    try {
      const { at } = await ask(`api/unlabelled?after=${shownAt}`);
      if (at === null) place.textContent = "Every sample of this store has a mask.";
      else go(at);
    } catch (error) {
      fail(error.message);
    }
  };
  const steps = createSteps(store.samples, { go, unlabelled });
  document.getElementById("steps").replaceChildren(...steps.elements);
  const keys = [["←", "previous"], ["→", "next"], ["u", "next without mask"], ["r", "random"], ["/", "find an id"]];
  const words = keys.flatMap(([key, text]) => [make("kbd", {}, key), ` ${text} `]);
  content.append(make("p", { class: "hint keys" }, "Keys: ", ...words));
  window.addEventListener("hashchange", () => go(positionInAddress(store.samples)));
  go(positionInAddress(store.samples));
}

document.getElementById("tools").append(makeThemeButton());
ask("api/store").then(
  (store) => {
    const model = store.model ? ` · ${visible(store.model)}` : "";
    document.getElementById("store-name").replaceChildren(shown(store.name), model);
    if (store.samples) startViewer(store);
    else showOnly("This store has no samples.", "hint");
  },
  (error) => showOnly(error.message),
);
