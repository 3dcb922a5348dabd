// Search for an id: a text field with a list of at most twenty suggestions, by the ARIA pattern of a combobox.

const PAUSE = 150; // milliseconds after the last key before the server is asked

/** Return {element, input}. `onPick(at)` is called with the position of the chosen sample. */
function createSearch(onPick) {
  let matches = []; // [{at, id}]
  let active = -1;
  let timer = null;
  let asked = null; // AbortController of the request under way

  const list = make("ul", {
    id: "suggestions",
    class: "suggestions",
    role: "listbox",
    "aria-label": "Ids",
    hidden: true,
  });
  const note = make("p", { class: "visually-hidden", role: "status" });
  const input = make("input", {
    type: "search",
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "Part of an id",
    "aria-expanded": "false",
    "aria-controls": "suggestions",
    "aria-autocomplete": "list",
  });
  const element = make(
    "div",
    { class: "search" },
    make("label", { class: "field" }, make("span", {}, "Find an id"), input),
    list,
    note,
  );

  const close = () => {
    clearTimeout(timer);
    asked?.abort();
    matches = [];
    active = -1;
    list.hidden = true;
    list.replaceChildren();
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const pick = (at) => {
    close();
    input.value = "";
    onPick(at);
  };
  const mark = (next) => {
    active = next;
    [...list.querySelectorAll("[role=option]")].forEach((option, at) => {
      option.setAttribute("aria-selected", String(at === active));
      if (at === active) option.scrollIntoView({ block: "nearest" });
    });
    if (active >= 0) input.setAttribute("aria-activedescendant", `suggestion-${active}`);
    else input.removeAttribute("aria-activedescendant");
  };
  const option = (match, at) => {
    // `mousedown` comes before the field loses the focus, which closes the list.
    const mousedown = (event) => {
      event.preventDefault();
      pick(match.at);
    };
    return make("li", { id: `suggestion-${at}`, role: "option", on: { mousedown } }, shown(match.id));
  };
  const remark = (text) => make("li", { class: "hint", role: "presentation" }, text);
  const show = (found) => {
    matches = found.suggestions;
    const last = matches.length ? (found.more ? ["More ids match"] : []) : ["No such id"];
    note.textContent = [...(matches.length ? [countText(matches.length, "id", "ids")] : []), ...last].join(". ");
    list.replaceChildren(...matches.map(option), ...last.map(remark));
    list.hidden = false;
    input.setAttribute("aria-expanded", String(matches.length > 0));
    mark(-1);
  };
  /** Ask the server for the text of the field; show the answer unless the text has changed. */
  const look = async () => {
    asked?.abort();
    asked = new AbortController();
    const text = input.value.toWellFormed?.() ?? input.value;
    const found = await ask(`api/find?id=${encodeURIComponent(text)}`, asked.signal);
    show(found);
    return found;
  };
  const fail = (error) => {
    if (error.name === "AbortError") return;
    close();
    list.replaceChildren(remark(error.message));
    list.hidden = false;
  };

  input.addEventListener("input", () => {
    clearTimeout(timer);
    if (!input.value) close();
    else timer = setTimeout(() => look().catch(fail), PAUSE);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if (list.hidden) input.blur();
      close();
    } else if (event.key === "ArrowDown" && matches.length) mark((active + 1) % matches.length);
    else if (event.key === "ArrowUp" && matches.length) mark((active + matches.length - 1) % matches.length);
    else if (event.key === "Enter" && active >= 0) pick(matches[active].at);
    else if (event.key === "Enter" && input.value) {
      clearTimeout(timer);
      look().then((found) => {
        const only = found.exact ?? (found.suggestions.length === 1 ? found.suggestions[0].at : null);
        if (only !== null) pick(only);
      }).catch(fail);
    } else return;
    event.preventDefault();
  });
  return { element, input };
}
