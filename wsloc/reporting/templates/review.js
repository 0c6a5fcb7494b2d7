// Marks of a person: which items are right and which are not. The browser keeps them; a file takes them to the export.

const MARKS = { accepted: ["a", "✓", "Accept"], rejected: ["r", "✗", "Reject"] };

// By item: the mark, and the boxes that it was given to. Other boxes of the same item are not marked.
let marks = keptMarks();

function marksName() {
  return `wsloc review of ${data.runs[0].name}`;
}

function keptMarks() {
  try {
    return new Map(Object.entries(JSON.parse(localStorage.getItem(marksName())) || {}));
  } catch {
    return new Map(); // Where the browser keeps nothing, the page does until it is closed.
  }
}

function keepMarks() {
  try {
    localStorage.setItem(marksName(), JSON.stringify(Object.fromEntries(marks)));
    return true;
  } catch {
    return false;
  }
}

const itemKey = (item) => JSON.stringify([item.image, item.class]);
const boxesKey = (item) => JSON.stringify(item.boxes.map((one) => one.box));
const canMark = (item) => !data.comparison && item.boxes.length > 0;

function markOf(item) {
  const [mark, boxes] = marks.get(itemKey(item)) || [];
  return boxes === boxesKey(item) ? mark : "";
}

/** Gives an item a mark, or takes it away where the item has it already. */
function setMark(item, mark) {
  if (!canMark(item)) return;
  if (!mark || markOf(item) === mark) marks.delete(itemKey(item));
  else marks.set(itemKey(item), [mark, boxesKey(item)]);
  byId("review-lost").hidden = keepMarks();
  showMarks();
}

/** The two buttons of an item, which may be exchanged for another. */
function markButtons(item) {
  const group = make("div", "marks");
  group.item = item;
  group.setAttribute("role", "group");
  for (const [mark, [key, sign, verb]] of Object.entries(MARKS)) {
    const button = make("button", `mark ${mark}`, `${sign} ${verb}`);
    button.type = "button";
    button.title = `${verb} (${key.toUpperCase()})`;
    button.addEventListener("click", () => setMark(group.item, mark));
    group.append(button);
  }
  return group;
}

function showGroup(group) {
  const own = markOf(group.item);
  group.setAttribute("aria-label", `Review of ${group.item.class || "no class"} in ${group.item.file}`);
  group.parentElement.dataset.mark = own;
  Object.keys(MARKS).forEach((mark, number) => {
    group.children[number].setAttribute("aria-pressed", String(mark === own));
  });
}

/** The buttons of the enlarged item: always the same ones, so that they keep the focus. */
function showViewerMarks(item) {
  const there = byId("viewer-marks");
  if (!there.firstChild) there.append(markButtons(item));
  there.firstChild.item = item;
  if (!canMark(item) && there.contains(document.activeElement)) byId("close").focus();
  there.hidden = !canMark(item);
  showMarks();
}

function markedAs(mark) {
  return data.items.filter((item) => markOf(item) === mark);
}

function showMarks() {
  document.querySelectorAll(".marks").forEach(showGroup);
  const count = Object.keys(MARKS).map((mark) => `${markedAs(mark).length} ${mark}`).join(", ");
  const none = data.items.every((item) => !markOf(item));
  if (!byId("review-count")) return;
  byId("review-count").textContent = none ? "none marked" : count;
  byId("review-save").disabled = none;
  byId("review-clear").disabled = none;
}

/** The key of a mark, pressed while an item is in focus. */
function markByKey(event, item) {
  const pressed = event.ctrlKey || event.metaKey || event.altKey ? "" : event.key.toLowerCase();
  const found = Object.entries(MARKS).find(([, [key]]) => key === pressed);
  if (!found || !item) return;
  setMark(item, found[0]);
  event.preventDefault();
}

function saveReview() {
  const named = (mark) => markedAs(mark).map((item) => ({ image_id: item.image, class_name: item.class }));
  const review = { run: data.runs[0].name, accepted: named("accepted"), rejected: named("rejected") };
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([`${JSON.stringify(review, null, 1)}\n`], { type: "application/json" }));
  link.download = `${data.runs[0].name}-review.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function startReview() {
  window.addEventListener("storage", (event) => {
    if (event.key !== marksName()) return;
    marks = keptMarks(); // The same page in another window.
    showMarks();
  });
  byId("review-save").addEventListener("click", saveReview);
  byId("review-clear").addEventListener("click", () => {
    data.items.forEach((item) => marks.delete(itemKey(item)));
    byId("review-lost").hidden = keepMarks();
    showMarks();
  });
  byId("cards").addEventListener("keydown", (event) => {
    const card = event.target.closest(".item");
    if (card) markByKey(event, found[Number(card.dataset.place)]);
  });
  byId("viewer").addEventListener("keydown", (event) => markByKey(event, found[place]));
}
