// Start the page: theme button, grid of cases, dialog.

/** Return the value of the JSON element with this id, or null. */
function readJson(id) {
  const node = document.getElementById(id);
  return node ? JSON.parse(node.textContent) : null;
}

document.getElementById("tools").append(makeThemeButton());

const caseTable = readJson("case-index");
if (caseTable && caseTable.cases.length) {
  const pictures = new Map();
  // The index holds the number of the element with the picture, so that a picture is parsed only when it is needed.
  const pictureOf = (item) => {
    if (item.picture === null) return null;
    if (!pictures.has(item.picture)) {
      pictures.set(item.picture, { ...readJson(`picture-${item.picture}`), classes: caseTable.classes });
    }
    return pictures.get(item.picture);
  };
  const grid = createCaseGrid(caseTable, { pictureOf, open: (item) => dialog.open(item) });
  const dialog = createCaseDialog(createCaseView(caseTable), {
    items: grid.items,
    complete: (item) => ({ ...item, picture: pictureOf(item) }),
  });
  document.getElementById("case-area").replaceChildren(grid.element);
  document.body.append(dialog.element);
}
