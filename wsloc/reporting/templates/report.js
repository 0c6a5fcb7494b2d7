"use strict";
// Data of a run enters the page as text or attributes, never as markup.

const data = JSON.parse(document.getElementById("gallery-data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const PAGE = 48;
const byId = (id) => document.getElementById(id);

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function draw(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const shown = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));

// ---- tables -----------------------------------------------------------------------------------------------------

const inOrder = new Intl.Collator(undefined, { numeric: true });

function sortTable(table, column, descending) {
  const value = (row) => row.cells[column].dataset.value;
  const numeric = table.tHead.rows[0].cells[column].classList.contains("text") === false;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => (numeric ? value(a) - value(b) : inOrder.compare(value(a), value(b))) * (descending ? -1 : 1));
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      // Numbers sort from the largest down, names from A to Z.
      const descending = before ? before === "ascending" : !head.classList.contains("text");
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortTable(table, column, descending);
    });
  });
}

for (const input of document.querySelectorAll(".row-filter")) {
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of byId(input.dataset.table).tBodies[0].rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    }
  });
}

// ---- pictures ---------------------------------------------------------------------------------------------------

function rectangle(box, className) {
  const [x0, y0, x1, y1] = box;
  return draw("rect", { x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0), class: className });
}

function addBoxes(picture, item, withTrue) {
  const drawn = withTrue ? item.true.map((one) => [one.box, `box ${one.difficult ? "difficult" : "true"}`]) : [];
  item.boxes.forEach((one, number) => {
    drawn.push([one.box, `box ${data.runs[one.run].color}${!data.comparison && number ? " minor" : ""}`]);
  });
  for (const [box] of drawn) picture.append(rectangle(box, "under"));
  for (const [box, className] of drawn) picture.append(rectangle(box, className));
}

/** The photograph with layers and boxes, or a sentence if there is no photograph. */
function pictureOf(item, label, { gray = false, layer = "", opacity = 1, boxes = true, withTrue = true } = {}) {
  const frame = make("span", "picture");
  const photo = data.photos[item.image];
  if (!photo || !photo.uri) {
    frame.append(make("span", "without", photo ? photo.reason : "No picture: the image is not in the data set."));
    return frame;
  }
  const [width, height] = photo.size;
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const whole = { x: 0, y: 0, width, height, preserveAspectRatio: "none" };
  picture.append(draw("image", { ...whole, href: photo.uri, ...(gray ? { filter: "url(#gray)" } : {}) }));
  if (layer) picture.append(draw("image", { ...whole, href: layer, opacity }));
  if (boxes) addBoxes(picture, item, withTrue);
  frame.append(picture);
  return frame;
}

// ---- text about an item -----------------------------------------------------------------------------------------

const STATES = { box: "", fallback: "fallback", failed: "failed", missing: "no box" };

function scoreOf(item) {
  if (data.agreement) return [`IoU ${shown(item.iou)}`, item.iou > 0.5 ? "good" : "bad"];
  if (data.comparison) return [`Δ ${shown(item.iou)}`, ""];
  if (item.state === "failed" || item.state === "missing") return [STATES[item.state], "bad"];
  if (item.iou === null) return [item.state === "box" ? "" : STATES[item.state], "odd"];
  return [`IoU ${shown(item.iou)}`, item.iou > 0.5 ? "good" : "bad"];
}

function moreOf(item) {
  const ofRuns = data.agreement ? item.qualities : item.ious;
  if (data.comparison) return `${data.agreement ? "quality " : ""}${data.runs.map((_, run) => shown(ofRuns[run])).join(" · ")}`;
  const words = item.probability === null ? [] : [`p ${shown(item.probability)}`, `quality ${shown(item.quality)}`];
  if (item.state === "fallback") words.push("fallback");
  return words.join(" · ") || item.reason;
}

function cardOf(item, place) {
  const card = make("button", "card");
  card.type = "button";
  card.dataset.place = place;
  const [score, kind] = scoreOf(item);
  card.setAttribute("aria-label", `${[`${item.class || "no class"} in ${item.file}`, score || moreOf(item)].filter(Boolean).join(", ")}. Enlarge`);
  const told = make("span", "told");
  const first = make("span", "told-first");
  first.append(make("bdi", "told-class", item.class || "no class"), make("span", `score ${kind}`, score));
  const file = make("bdi", "told-more", item.file);
  file.title = item.file;
  file.style.display = "block";
  const more = make("span", "told-more", moreOf(item));
  more.style.display = "block";
  told.append(first, more, file);
  card.append(pictureOf(item, `${item.class || "no class"} in ${item.file} with boxes`), told);
  const whole = make("div", "item");
  whole.dataset.place = place;
  whole.append(card, ...(canMark(item) ? [markButtons(item)] : []));
  return whole;
}

// ---- filters and order ------------------------------------------------------------------------------------------

const START = { preset: "", class: "", low: 0, high: 1, probability: 0, quality: 0, sort: "", state: "", mark: "" };
let choice = { ...START };
let found = [];
let count = PAGE;

const PRESETS = {
  best: { sort: data.judged ? "iou-down" : "quality-down" },
  median: { sort: data.judged ? "iou-median" : "quality-median" },
  worst: { sort: data.judged ? "iou-up" : "quality-up" },
  fallback: { state: "fallback" },
  failed: { state: "failed" },
  spread: { sort: "iou-down" },
  apart: { sort: "iou-up" },
  together: { sort: "iou-down" },
};
data.runs.forEach((_, run) => { PRESETS[`ahead-${run}`] = { sort: `ahead-${run}`, state: `ahead-${run}` }; });

function leadOf(item, run) {
  return item.ious[run] - Math.max(...item.ious.filter((_, other) => other !== run));
}

function isOf(item, state) {
  if (!state) return true;
  if (state.startsWith("ahead-")) return leadOf(item, Number(state.slice(6))) > 0;
  if (state === "failed") return item.state === "failed" || item.state === "missing";
  return item.state === state;
}

function passes(item) {
  const wanted = choice.class.trim().toLowerCase();
  // A name from the list selects that class alone; other text matches part of a name.
  const exact = classNames.has(wanted);
  const name = item.class.toLowerCase();
  const within = (value, low) => low === 0 || (value !== null && value >= low);
  const wholeRange = choice.low === 0 && choice.high === 1;
  return isOf(item, choice.state)
    && (!choice.mark || choice.mark === (markOf(item) || (canMark(item) ? "none" : "")))
    && (!wanted || (exact ? name === wanted : name.includes(wanted)))
    && (wholeRange || (item.iou !== null && item.iou >= choice.low && item.iou <= choice.high))
    && within(item.probability, choice.probability)
    && within(item.quality, choice.quality);
}

const classNames = new Set(data.items.map((item) => item.class.toLowerCase()));

function medianOf(values) {
  const sorted = values.slice().sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : 0;
}

function sorted(items) {
  const [field, way] = choice.sort.split("-");
  if (field === "file") return items.slice().sort((a, b) => inOrder.compare(a.file, b.file));
  if (field === "ahead") return items.slice().sort((a, b) => leadOf(b, Number(way)) - leadOf(a, Number(way)));
  const known = items.filter((item) => item[field] !== null);
  const middle = way === "median" ? medianOf(known.map((item) => item[field])) : 0;
  const key = { up: (value) => value, down: (value) => -value, median: (value) => Math.abs(value - middle) }[way];
  known.sort((a, b) => key(a[field]) - key(b[field]));
  return [...known, ...items.filter((item) => item[field] === null)];
}

function show() {
  found = sorted(data.items.filter(passes));
  count = PAGE;
  byId("cards").replaceChildren();
  addCards();
  byId("shown-count").textContent = `${found.length} of ${data.items.length} ${data.items.length === 1 ? "item" : "items"}`;
  byId("nothing").hidden = found.length > 0;
  for (const button of document.querySelectorAll(".preset")) {
    button.setAttribute("aria-pressed", String(button.dataset.preset === choice.preset));
  }
  byId("sort").value = choice.sort;
}

function addCards() {
  const cards = byId("cards");
  for (let place = cards.children.length; place < Math.min(count, found.length); place += 1) {
    cards.append(cardOf(found[place], place));
  }
  showMarks();
  byId("more").hidden = found.length <= count;
  byId("more").textContent = `Show ${Math.min(PAGE, found.length - count)} more`;
}

function choosePreset(name) {
  choice = { ...choice, state: "", sort: byId("sort").options[0].value, ...PRESETS[name], preset: name };
  show();
}

function reset() {
  choice = { ...START };
  if (byId("filter-class")) byId("filter-class").value = "";
  if (byId("filter-mark")) byId("filter-mark").value = "";
  for (const slider of document.querySelectorAll(".filters input[type=range]")) {
    slider.value = slider.id === "filter-high" ? 1 : 0;
    slider.closest("label").querySelector("output").value = Number(slider.value).toFixed(2);
  }
  choosePreset(document.querySelector(".preset").dataset.preset);
}

// ---- the enlarged item ------------------------------------------------------------------------------------------

let place = 0;

function panel(item, caption, options) {
  const figure = make("figure");
  const photo = data.photos[item.image];
  const frame = pictureOf(item, `${caption}: ${item.class || "no class"} in ${item.file}`, options);
  if (photo && photo.uri) frame.style.setProperty("--shape", shapeOf(item));
  figure.append(frame, make("figcaption", "", caption));
  return figure;
}

/** Width over height of a panel: a long image would look tiny in a 4:3 frame, and one of its own shape is a strip. */
function shapeOf(item) {
  const photo = data.photos[item.image];
  return photo && photo.uri ? Math.min(2, Math.max(0.75, photo.size[0] / photo.size[1])) : 4 / 3;
}

/** As many columns as make the panels largest in the window; on a phone two, and the page scrolls. */
function fitPanels() {
  const panels = byId("panels");
  const count = panels.children.length;
  const shape = shapeOf(found[place]);
  const style = getComputedStyle(byId("viewer"));
  const width = byId("viewer").clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  // Title, note and facts, and below each panel its caption.
  const height = window.innerHeight - 180;
  const sideFor = (columns) => {
    const own = (width - 10 * (columns - 1)) / columns;
    const fits = shape * (height / Math.ceil(count / columns) - 34);
    return window.innerWidth < 700 ? own : Math.min(own, Math.max(fits, 160));
  };
  const choices = (window.innerWidth < 700 ? [2] : [1, 2, 4]).map((columns) => Math.min(columns, count));
  const columns = choices.reduce((best, one) => (sideFor(one) > sideFor(best) ? one : best));
  panels.style.setProperty("--columns", columns);
  panels.style.setProperty("--wide", `${Math.floor(sideFor(columns))}px`);
}

function enlarge(number) {
  place = Math.min(Math.max(number, 0), found.length - 1);
  const item = found[place];
  const [score] = scoreOf(item);
  byId("viewer-title").textContent = [item.class || "no class", score].filter(Boolean).join(" – ");
  byId("viewer-place").textContent = `${place + 1} of ${found.length}`;
  byId("previous").disabled = place === 0;
  byId("next").disabled = place === found.length - 1;
  const panels = [panel(item, data.judged ? "Found and true boxes" : "Found boxes")];
  if (item.layers) {
    const [saliency, seeds, mask] = item.layers;
    panels.push(
      panel(item, "Saliency map", { gray: true, layer: saliency, opacity: 0.55, boxes: false }),
      panel(item, "Seeds: object in red, background in blue", { layer: seeds, boxes: false }),
      panel(item, "Mask and its box", { layer: mask, withTrue: false }),
    );
  }
  byId("panels").replaceChildren(...panels);
  const layersGone = !item.layers && item.boxes.length && !data.comparison ? data.layersReason : "";
  const note = [item.reason, layersGone].filter(Boolean).join(" ");
  byId("viewer-note").hidden = !note;
  byId("viewer-note").textContent = note;
  byId("viewer-facts").replaceChildren(...factsOf(item).map(([name, text]) => {
    const pair = make("div");
    pair.append(make("dt", "", name), make("dd", "", text));
    return pair;
  }));
  showViewerMarks(item);
  if (!byId("viewer").open) byId("viewer").showModal();
  fitPanels();
}

function factsOf(item) {
  const facts = data.comparison
    ? data.runs.map((one, run) => (data.agreement
      ? [`Quality, ${one.name}`, shown(item.qualities[run])] : [`IoU, ${one.name}`, shown(item.ious[run])]))
    : [["IoU", shown(item.iou)], ["Probability", shown(item.probability)], ["Quality", shown(item.quality)]];
  if (data.judged) facts.push(["True boxes", String(item.true.length)]);
  const size = item.size || (data.photos[item.image] || {}).size;
  if (size && size[0]) facts.push(["Image", `${size[0]} × ${size[1]}`]);
  return [...facts, ["File", item.file]];
}

function start() {
  document.querySelector(".toolbar").hidden = false;
  for (const button of document.querySelectorAll(".preset")) {
    const state = (PRESETS[button.dataset.preset] || {}).state;
    if (state) {
      const there = data.items.filter((item) => isOf(item, state)).length;
      button.textContent += ` (${there})`;
      button.disabled = there === 0;
    }
    button.addEventListener("click", () => choosePreset(button.dataset.preset));
  }
  byId("filter-class").addEventListener("input", (event) => { choice.class = event.target.value; show(); });
  for (const slider of document.querySelectorAll(".filters input[type=range]")) {
    const name = slider.id.replace("filter-", "");
    slider.addEventListener("input", () => {
      choice[name] = Number(slider.value);
      slider.closest("label").querySelector("output").value = choice[name].toFixed(2);
      show();
    });
  }
  if (byId("filter-mark")) byId("filter-mark").addEventListener("change", (event) => { choice.mark = event.target.value; show(); });
  byId("sort").addEventListener("change", (event) => {
    choice.sort = event.target.value;
    if (!choice.state) choice.preset = "";
    show();
  });
  byId("reset").addEventListener("click", reset);
  byId("reset-too").addEventListener("click", reset);
  byId("more").addEventListener("click", () => { count += PAGE; addCards(); });
  byId("cards").addEventListener("click", (event) => {
    const card = event.target.closest(".card");
    if (card) enlarge(Number(card.dataset.place));
  });
  const viewer = byId("viewer");
  byId("previous").addEventListener("click", () => enlarge(place - 1));
  byId("next").addEventListener("click", () => enlarge(place + 1));
  byId("close").addEventListener("click", () => viewer.close());
  window.addEventListener("resize", () => { if (viewer.open) fitPanels(); });
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") enlarge(place - 1);
    else if (event.key === "ArrowRight") enlarge(place + 1);
    else return;
    event.preventDefault();
  });
  viewer.addEventListener("close", () => {
    const item = byId("cards").children[place];
    if (item) item.querySelector(".card").focus();
  });
  if (byId("review-save")) startReview();
  reset();
}
