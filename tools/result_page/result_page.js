// The script of the page of tools/result_page/result_page.py, which tells what `values` holds.
"use strict";
const values = JSON.parse(document.getElementById("values").textContent);
const {classes, pictures, steps, hasTruth} = values;
const byId = (name) => document.getElementById(name);
const SVG = "http://www.w3.org/2000/svg";
const [CLASS, STEP, SCORE, OUTCOME] = [0, 1, 2, 3];  // of a box; an object has the first two
const BOX_CORNERS = 4, OBJECT_CORNERS = 2;
const NOT_COUNTED = -2;
const MOST_NAMES = 150;  // boxes of a picture that are named in the viewer

let step = Math.max(values.least, Math.min(steps, 30));
let chosen = classes.map(() => true);
let listed = [];  // the pictures of the grid, in its order
let opened = -1;  // the place in it of the one that the viewer shows
let view = null;  // what the viewer shows of it: x, y, width, height

// ---- counts

for (const counts of [values.boxes, values.right, values.false])  // at a step -> from there on
  for (const row of counts) for (let place = steps - 1; place >= 0; place--) row[place] += row[place + 1];

function score(labels, from) {
  const sum = (counts) => labels.reduce((so_far, label) => so_far + counts[label][from], 0);
  const objects = labels.reduce((so_far, label) => so_far + values.objects[label], 0);
  const found = {boxes: sum(values.boxes), right: sum(values.right), false: sum(values.false), objects};
  found.missed = objects - found.right;
  found.precision = found.right / (found.right + found.false);
  found.recall = found.right / objects;
  found.f1 = 2 * found.right / (found.right + found.false + objects);
  return found;
}

// Where F1 is best, and that: the middle between the weakest box that counts for it and the next lower one, as far as
// there is one on the page, as metrics.json has it. Where nothing is right the lowest step, and 0.
function bestStep(labels) {
  let best = 0, low = values.least, high = low;
  for (let from = steps; from >= values.least; from--) {
    const f1 = score(labels, from).f1;
    if (f1 > best) [best, low, high] = [f1, from, from];
    else if (f1 === best && from === low - 1) low = from;
  }
  return [low > values.least ? Math.ceil((low + high) / 2) : high, best];
}

function isSeen(box) { return box[STEP] >= step && chosen[box[CLASS]]; }
function isRegion(thing) { return thing[CLASS] < 0; }
function isMissed(thing) { return !isRegion(thing) && chosen[thing[CLASS]] && thing[STEP] !== NOT_COUNTED && thing[STEP] < step; }

function countsOf(picture) {
  const seen = picture.boxes.filter(isSeen);
  return {boxes: seen.length, false: seen.filter((box) => box[OUTCOME] === 0).length,
    missed: picture.objects.filter(isMissed).length};
}

// ---- the table of classes: its rows are made once, and what they say changes

const shareOf = (value) => Number.isFinite(value) ? value.toFixed(3) : "n/a";
const classRows = [];  // of all chosen classes, then of each class: {labels, cells, box, best}

function makeRow(name, facts) {
  const row = byId("classes").insertRow(), cells = [];
  row.insertCell().append(...name);
  for (let number = 0; number < (hasTruth ? 9 : 1); number++) {
    const made = row.insertCell();
    made.className = "n";
    cells.push(made);
  }
  classRows.push({cells, ...facts});
  return row;
}

function makeTable() {
  makeRow(["all chosen classes"], {}).className = "sum";
  classes.forEach((item, label) => {
    const choice = document.createElement("label"), box = document.createElement("input");
    const swatch = document.createElement("span"), only = document.createElement("button");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => { chosen[label] = box.checked; draw(); });
    swatch.className = "swatch";
    swatch.style.background = item.colour;
    choice.append(box, swatch, item.name);
    only.textContent = "only";
    only.title = `${item.name} alone`;
    only.addEventListener("click", () => choose((other) => other === label));
    makeRow([choice, only], {labels: [label], box, best: bestStep([label])});
  });
}

function choose(isChosen) {
  chosen = classes.map((_, label) => isChosen(label));
  for (const row of classRows) if (row.box) row.box.checked = chosen[row.labels[0]];
  draw();
}

function drawTable() {
  for (const {labels = chosenLabels(), cells, best = bestStep(labels)} of classRows) {
    const found = score(labels, step), [at, f1] = best;
    const told = !hasTruth ? [found.boxes] : [found.objects, found.boxes, found.right, found.false, found.missed,
      shareOf(found.precision), shareOf(found.recall), shareOf(found.f1),
      f1 ? `${f1.toFixed(3)} from ${(at / steps).toFixed(2)}` : "n/a"];
    told.forEach((text, place) => { cells[place].textContent = text; });
  }
}

function chosenLabels() { return classes.map((_, label) => label).filter((label) => chosen[label]); }

// ---- boxes on pictures

function polygon(thing, from, kind, text) {
  const made = document.createElementNS(SVG, "polygon"), title = document.createElementNS(SVG, "title");
  made.setAttribute("points", thing.slice(from).join(" "));
  made.setAttribute("class", kind);
  title.textContent = text;
  made.append(title);
  return made;
}

function nameOf(thing) { return isRegion(thing) ? "ignore region" : classes[thing[CLASS]].name; }

function overlay(picture) {
  const parts = [], byOutcome = hasTruth && byId("colours").value === "outcome";
  for (const thing of picture.objects) {
    if (isMissed(thing)) parts.push(polygon(thing, OBJECT_CORNERS, "missed", `${nameOf(thing)}, missed`));
    else if (isRegion(thing) || (thing[STEP] === NOT_COUNTED && chosen[thing[CLASS]]))
      parts.push(polygon(thing, OBJECT_CORNERS, "out region", `${nameOf(thing)}, does not count`));
  }
  for (const box of picture.boxes) {
    if (!isSeen(box)) continue;
    const said = hasTruth ? {1: ", right", 0: ", false alarm"}[box[OUTCOME]] ?? ", does not count" : "";
    const kind = byOutcome ? {1: "right", 0: "false"}[box[OUTCOME]] ?? "out" : "";
    const made = polygon(box, BOX_CORNERS, kind, `${nameOf(box)} ${box[SCORE].toFixed(2)}${said}`);
    if (!byOutcome) made.style.stroke = classes[box[CLASS]].colour;
    parts.push(made);
  }
  return parts;
}

// ---- the grid

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    entry.target.isNear = entry.isIntersecting;
    if (entry.isIntersecting) drawCard(entry.target);
  }
}, {rootMargin: "300px"});

function makeCard(picture) {
  const card = document.createElement("figure"), frame = document.createElement("div");
  const image = document.createElement("img"), svg = document.createElementNS(SVG, "svg");
  const [height, width] = picture.size;
  card.className = "picture";
  card.tabIndex = 0;
  frame.className = "frame";
  frame.style.aspectRatio = `${width} / ${height}`;
  image.loading = "lazy";
  image.alt = picture.name;
  image.src = picture.file;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  frame.append(image, svg);
  card.append(frame, document.createElement("figcaption"));
  card.addEventListener("click", () => open(listed.indexOf(picture)));
  card.setAttribute("role", "button");
  card.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();  // else the same key would press the button that gets the focus
    open(listed.indexOf(picture));
  });
  card.picture = picture;
  picture.card = card;
  watcher.observe(card);
}

function drawCard(card) {
  const counts = countsOf(card.picture);
  card.querySelector("svg").replaceChildren(...overlay(card.picture));
  card.querySelector("figcaption").textContent = captionOf(card.picture, counts);
}

function captionOf(picture, counts) {
  const errors = hasTruth ? `, ${counts.missed} missed, ${counts.false} false` : "";
  return `${picture.name}: ${counts.boxes} boxes${errors}`;
}

const FILTERS = {
  all: () => true,
  missed: (counts) => counts.missed > 0,
  false: (counts) => counts.false > 0,
  boxes: (counts) => counts.boxes > 0,
  empty: (counts) => counts.boxes === 0,
};
const ORDERS = {
  name: () => 0,
  errors: (counts) => -(counts.missed + counts.false),
  boxes: (counts) => -counts.boxes,
};

function orderGrid() {
  const passes = FILTERS[byId("filter").value], rank = ORDERS[byId("order").value];
  const text = byId("search").value.toLowerCase();
  const rows = pictures.map((picture) => [picture, countsOf(picture)])
    .filter(([picture, counts]) => passes(counts) && picture.name.toLowerCase().includes(text));
  rows.sort((a, b) => rank(a[1]) - rank(b[1]) || a[0].name.localeCompare(b[0].name, undefined, {numeric: true}));
  const before = listed;
  listed = rows.map(([picture]) => picture);
  if (listed.length !== before.length || listed.some((picture, place) => picture !== before[place]))
    byId("grid").replaceChildren(...listed.map((picture) => picture.card));
  byId("count").textContent = `${listed.length} of ${pictures.length} pictures`;
}

// ---- one picture, large

function open(place) {
  opened = place;
  const [height, width] = listed[place].size;
  view = [0, 0, width, height];
  drawViewer();
  if (!byId("viewer").open) byId("viewer").showModal();
}

function drawViewer() {
  const picture = listed[opened], [height, width] = picture.size, image = document.createElementNS(SVG, "image");
  image.setAttribute("href", picture.file);
  image.setAttribute("width", width);
  image.setAttribute("height", height);
  byId("stage").replaceChildren(image, ...overlay(picture), ...namesOn(picture));
  byId("title").textContent = `${opened + 1} of ${listed.length}: ${captionOf(picture, countsOf(picture))}`;
  applyView();
}

function namesOn(picture) {
  const named = [
    ...picture.objects.filter(isMissed).map((thing) => [thing.slice(OBJECT_CORNERS), `${nameOf(thing)}, missed`]),
    ...picture.boxes.filter(isSeen).map((box) => [box.slice(BOX_CORNERS), `${nameOf(box)} ${box[SCORE].toFixed(2)}`]),
  ];
  if (named.length > MOST_NAMES) return [];
  return named.map(([corners, text]) => {
    const made = document.createElementNS(SVG, "text");
    const top = [0, 2, 4, 6].reduce((best, at) => corners[at + 1] < corners[best + 1] ? at : best, 0);
    made.setAttribute("x", corners[top]);
    made.setAttribute("y", corners[top + 1]);
    made.textContent = text;
    return made;
  });
}

function applyView() {
  const stage = byId("stage"), size = 12 * pixelsPerPoint();  // letters keep their size on the screen
  stage.setAttribute("viewBox", view.join(" "));
  stage.style.fontSize = `${size}px`;
  for (const text of stage.querySelectorAll("text")) {
    text.setAttribute("dy", -0.3 * size);
    text.style.strokeWidth = `${size / 4}px`;
  }
}

// Of the picture, per pixel of the screen.
function pixelsPerPoint() {
  const {clientWidth, clientHeight} = byId("stage");
  return Math.max(view[2] / (clientWidth || innerWidth), view[3] / (clientHeight || innerHeight - 50));
}

function zoom(event) {
  event.preventDefault();
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(byId("stage").getScreenCTM().inverse());
  zoomAt(point.x, point.y, Math.exp(Math.max(-100, Math.min(100, event.deltaY)) / 400));
}

function zoomAt(x, y, factor) {
  const [height, width] = listed[opened].size;
  const wanted = Math.max(width / 40, Math.min(width, view[2] * factor)), by = wanted / view[2];
  view = [x - (x - view[0]) * by, y - (y - view[1]) * by, wanted, view[3] * by];
  if (wanted === width) view = [0, 0, width, height];
  applyView();
}

function drag(event) {
  if (!(event.buttons & 1)) return;
  const scale = pixelsPerPoint(), [height, width] = listed[opened].size;
  const within = (start, length, end) => Math.max(-length / 2, Math.min(end - length / 2, start));  // some of it is seen
  view[0] = within(view[0] - event.movementX * scale, view[2], width);
  view[1] = within(view[1] - event.movementY * scale, view[3], height);
  applyView();
}

function press(event) {
  const by = {ArrowRight: 1, ArrowLeft: -1}[event.key], factor = {"+": 0.8, "-": 1.25}[event.key];
  if (by && listed[opened + by]) open(opened + by);
  if (factor) zoomAt(view[0] + view[2] / 2, view[1] + view[3] / 2, factor);
}

// ---- all of it

// While the slider moves the pictures keep their places.
function draw(keepsOrder) {
  byId("score").textContent = (step / steps).toFixed(2);
  byId("slider").value = step;
  if (hasTruth) byId("keys").hidden = byId("colours").value !== "outcome";
  drawTable();
  if (keepsOrder !== true) orderGrid();
  for (const picture of listed) if (picture.card.isNear) drawCard(picture.card);
}

function start() {
  Object.assign(byId("slider"), {min: values.least, max: steps, step: 1});
  byId("slider").addEventListener("input", (event) => { step = Number(event.target.value); draw(true); });
  byId("slider").addEventListener("change", draw);
  for (const name of ["filter", "order", "colours"]) byId(name)?.addEventListener("change", draw);
  byId("search").addEventListener("input", draw);
  byId("best")?.addEventListener("click", () => { [step] = bestStep(chosenLabels()); draw(); });
  byId("stage").addEventListener("wheel", zoom, {passive: false});
  byId("stage").addEventListener("pointermove", drag);
  byId("close").addEventListener("click", () => byId("viewer").close());
  byId("viewer").addEventListener("keydown", press);
  byId("all").addEventListener("click", () => choose(() => true));
  byId("none").addEventListener("click", () => choose(() => false));
  addEventListener("resize", () => { if (byId("viewer").open) applyView(); });
  makeTable();
  pictures.forEach(makeCard);
  draw();
}

start();
