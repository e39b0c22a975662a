"use strict";
// Shows the boards: Python's figures, and under filters what sums per area of interest give; text is only ever text.

const INPUT = "Cloudy (input)";
const SAMPLE = ["cloudy", "prediction", "cloud-free"]; // from left to right in a method's picture
const FAR = 4; // median deviations, beyond which a score is off the axis of its column
const MOST_GROUPS = 8; // of tied methods whose bars are drawn
const START = { track: "", protocol: "", land_cover: "all", cover_bin: "all", region: "all", inputs: "all", verified: "",
  segmenter: "", sort: "psnr", down: "1", a: "", b: "", entry: "" };
const state = { ...START };
const at = (id) => document.getElementById(id);

for (const board of DATA.boards) {
  board.entries = board.entries.map(({ folder, further }) => ({ ...DATA.entries[folder], further }));
}

// ---------------------------------------------------------------- words and elements

function text(value, digits, sign = false) {
  if (value === Infinity) return "∞";
  if (!Number.isFinite(value)) return "–";
  const rounded = Number(value.toFixed(digits)) + 0;
  return `${sign && rounded > 0 ? "+" : ""}${rounded.toFixed(digits)}`.replace("-", "−");
}

function make(tag, content, attributes = {}) {
  return built(document.createElement(tag), content, attributes);
}

function draw(tag, attributes, content = []) {
  return built(document.createElementNS("http://www.w3.org/2000/svg", tag), content, attributes);
}

function built(element, content, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  for (const part of [content].flat()) if (part !== null && part !== undefined) element.append(part);
  return element;
}

function fill(select, options, value) {
  select.replaceChildren(...options.map(([key, label]) => make("option", label, { value: key })));
  select.value = value;
}

function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

function range({ low, high }, digits) {
  return Number.isFinite(high - low) ? `[${text(low, digits)}, ${text(high, digits)}]` : "";
}

function chance(p) {
  return (p < 0.001 ? "p < 0.001" : `p = ${text(p, p < 0.01 ? 3 : 2)}`).replaceAll(" ", "\u00a0");
}

function withUnit(value, metric, difference = false) {
  const { unit, digits } = METRICS[metric];
  const shown = unit === "%" && difference ? " points" : unit === "°" || unit === "%" ? unit : unit && ` ${unit}`;
  return `${text(value, digits)}${shown}`;
}

/** Whole sentences of which some parts stand out. */
function sentence(parts) {
  return parts.map((part) => (Array.isArray(part) ? make("strong", part) : part));
}

// ---------------------------------------------------------------- what is shown

const board = () => DATA.boards.find(({ track, protocol }) => track === state.track && protocol === state.protocol);
const cluster = () => board().cluster; // over which intervals are
const alone = () => cluster() === "scene"; // nobody knows which scenes are of one place
const selection = () => ({ land_cover: state.land_cover, cover_bin: state.cover_bin, region: state.region });
const isOfficial = () => board().protocol === "official";
const trackOf = ({ track, simulated }) => (simulated ? `${track} (simulated)` : track);
const binOf = (bin) => bin.replace("-", "–");
const windowOf = (crop) => (crop === "160" ? "160 × 160" : crop);
const sortMetric = () => (state.sort === "method" ? START.sort : state.sort);

function shown() {
  return board().entries.filter((entry) =>
    (!state.verified || entry.status === "verified")
      && (state.inputs === "all"
        || (state.inputs === "sar") === entry.inputs.includes("sar") && entry.inputs.length > 0));
}

function columns() {
  return Object.keys(METRICS).filter((metric) => !METRICS[metric].segmented || state.segmenter);
}

const estimates = new Map();

/** A score with its interval for a selection: of an entry, of the `input`, or of the `clear` image. */
function scoreOf(name, metric, chosen = selection()) {
  const key = METRICS[metric].segmented && name === "input" ? "cloudy" : name;
  return cached(estimates, [board().id, key, metric, chosen, state.segmenter], () =>
    known(key, metric, chosen) || estimate(sumsOf(board(), key, metric, chosen)));
}

/** What Python found, as far as it has: all without a filter, a value with one; of segmenters, whose counts are exact, nothing. */
function known(name, metric, chosen) {
  const axes = AXES.filter((axis) => chosen[axis] !== "all");
  const { estimates: all, values } = board().cells;
  if (axes.length === 1) {
    const value = values[name]?.[axes[0]][chosen[axes[0]]]?.[metric];
    return value === undefined ? null : { ...estimate(sumsOf(board(), name, metric, chosen)), value: fromJson(value) };
  }
  const own = axes.length ? null : all[name]?.[metric];
  if (!own) return null;
  const figures = Object.fromEntries(["value", "low", "high", "freedom", "aois", "effective"].map((key) => [key, fromJson(own[key])]));
  return { ...figures, without: [...numbers(own.without)], measured: [...numbers(own.measured)].map(Boolean) };
}

/** Scores of the input, if they are known, and of every shown entry in every column. */
function scored() {
  const each = (name) => Object.fromEntries(columns().map((metric) => [metric, scoreOf(name, metric)]));
  return { rows: shown().map((entry) => ({ entry, scores: each(entry.name) })), input: board().cells.sums.input ? each("input") : null };
}

/** The row whose rank each row takes: of the same predictions a verified one's, else the worst one's. */
function standIns(rows, metric) {
  const { up } = METRICS[metric];
  const badness = (row) => (up ? -1 : 1) * row.scores[metric].value;
  const verified = (row) => (row.entry.status === "verified" ? 1 : 0);
  return new Map(rows.map((row) => {
    const same = rows.filter((other) => other === row || row.entry.same_predictions.includes(other.entry.name));
    same.sort((left, right) => verified(right) - verified(left) || badness(right) - badness(left) || byName(left, right));
    return [row, same[0]];
  }));
}

function byName(left, right) {
  return left.entry.name < right.entry.name ? -1 : 1;
}

/** Rows from best to worst, or the other way; what has no score comes last, the same predictions side by side. */
function sorted(rows, metric, way) {
  const better = METRICS[metric].up ? -1 : 1;
  const standIn = standIns(rows, metric);
  const key = (row) => standIn.get(row).scores[metric].value;
  return [...rows].sort((row, other) => {
    const [left, right] = [key(row), key(other)];
    if (Number.isNaN(left) || Number.isNaN(right)) return Number.isNaN(left) - Number.isNaN(right);
    if (left !== right) return way * better * (left - right);
    const [first, second] = [standIn.get(row), standIn.get(other)];
    if (first !== second) return byName(first, second);
    return (other === second ? 1 : 0) - (row === first ? 1 : 0);
  });
}

/** Rows in the order of the table: incomplete ones last. */
function ranked(rows) {
  const way = state.down === "1" ? 1 : -1;
  const all = state.sort === "method"
    ? [...rows].sort((left, right) => way * left.entry.method.localeCompare(right.entry.method, "en"))
    : sorted(rows, state.sort, way);
  return [...all.filter((row) => row.entry.complete), ...all.filter((row) => !row.entry.complete)];
}

/** Who has which rank in a score, which ranks it may have, and how sure that is. */
function rankings(rows, metric) {
  const standIn = standIns(rows, metric);
  const whole = sorted(rows, metric, 1).filter((row) => row.entry.complete && !Number.isNaN(row.scores[metric].value));
  const order = [...new Set(whole.map((row) => standIn.get(row)))];
  const comparison = board().comparable ? compared(whole.map((row) => row.scores[metric])) : null;
  const better = whole.map(() => new Set());
  const worse = whole.map(() => new Set());
  for (const [i, j] of comparison ? comparison.different : []) {
    better[j].add(standIn.get(whole[i]));
    worse[i].add(standIn.get(whole[j]));
  }
  const places = new Map(whole.map((row, index) => [row.entry.name, {
    rank: order.indexOf(standIn.get(row)) + 1,
    range: comparison ? [better[index].size + 1, order.length - worse[index].size] : null,
    letters: comparison ? comparison.letters[index] : "",
    best: Boolean(comparison) && sharesLetter(comparison.letters[index], comparison.letters[0]),
  }]));
  return { whole, order, comparison, places };
}

// ---------------------------------------------------------------- head

function showHead(rows) {
  const entries = board().entries;
  at("answer").replaceChildren(...sentence(answer(rows)));
  const all = behindBoard(EVERYTHING);
  const facts = [board().track, board().simulated && "simulated", board().scenes && counted(board().scenes, "scene"),
    all.aois && !alone() && counted(all.aois, cluster()), entries.length && counted(entries.length, "method"),
    board().date && `measured ${board().date}`, `planetcr-bench ${DATA.version}`];
  at("badges").replaceChildren(...facts.filter(Boolean).map((fact) =>
    make("li", fact, { class: fact === "simulated" ? "badge warned" : "badge" })));
}

/** Which method is best, by how much, and whether that is significant. */
function answer(rows) {
  if (!board().entries.length) return ["No method has been measured on this track yet; below are the paper's figures."];
  const metric = sortMetric();
  const { label } = METRICS[metric];
  const { whole, order, comparison } = rankings(rows, metric);
  if (!whole.length) return ["No complete entry has a score under these filters."];
  const score = withUnit(order[0].scores[metric].value, metric);
  const second = order[1];
  const best = [order[0].entry.method];
  if (!second) return [best, ` is the only one ranked here, with ${label} ${score}.`];
  const gap = Math.abs(order[0].scores[metric].value - second.scores[metric].value);
  const ahead = [best, ` has the best ${label}, ${score}: `, [withUnit(gap, metric, true)],
    ` ${METRICS[metric].up ? "above" : "below"} ${second.entry.method}. `];
  if (!comparison) return [...ahead, "Entries cover other areas, so no difference is tested."];
  const [i, j] = [whole.indexOf(order[0]), whole.indexOf(second)].sort((left, right) => left - right);
  const p = comparison.chances[comparison.places.findIndex(([left, right]) => left === i && right === j)];
  const corrected = comparison.pairs.length > 1 ? `, corrected for ${comparison.pairs.length} pairs` : "";
  return [...ahead, `The lead is ${p < LEVEL ? "" : "not "}significant (${chance(p)}${corrected}).`];
}

/** A picture's part beside or over another's, with a handle that the pointer and the keys move. */
function comparing(left, right) {
  const shot = ({ src, part, label }, over) => make("div",
    make("img", "", { src, alt: label, class: `part${part}`, draggable: "false" }), { class: over ? "shot over" : "shot" });
  const handle = make("input", "", { type: "range", min: "0", max: "100", value: "50",
    "aria-label": `How much is ${left.label}, how much ${right.label}` });
  const box = make("div", [shot(right, false), shot(left, true), make("span", left.label, { class: "tag" }),
    make("span", right.label, { class: "tag right" }), make("span", "", { class: "grip", "aria-hidden": "true" }), handle],
  { class: "compare" });
  handle.addEventListener("input", () => box.style.setProperty("--at", `${handle.value}%`));
  return box;
}

const shapes = new Map();

/** Whether a sample picture has its three parts side by side; older ones have rows of small ones. */
function hasParts(src) {
  return cached(shapes, [src], async () => {
    const image = make("img", "", { src });
    await image.decode().catch(() => null);
    return Math.abs(image.naturalWidth - 3 * image.naturalHeight) < 4;
  });
}

/** The scene of the sample pictures, cloudy and as the best method that has one makes it. */
async function showBeforeAfter(rows) {
  const figure = at("before-after");
  const own = ranked(rows).find(({ entry }) => entry.complete && entry.samples) || rows.find(({ entry }) => entry.samples);
  const src = own ? own.entry.samples : "";
  if (figure.dataset.of === (own ? own.entry.name : "") && !figure.hidden) return;
  if (!src || !(await hasParts(src))) {
    figure.hidden = true;
    return;
  }
  const choices = [[1, own.entry.method], [2, "cloud-free"]];
  const show = (chosen) => {
    const [part, label] = choices[chosen];
    const box = comparing({ src, part: 0, label: "cloudy" }, { src, part, label });
    const buttons = choices.map((_, index) => {
      const button = make("button", SAMPLE[index + 1], { type: "button", "aria-pressed": String(index === chosen) });
      button.addEventListener("click", () => { show(index); figure.querySelectorAll("button")[index].focus(); });
      return button;
    });
    figure.replaceChildren(box, make("figcaption", [make("span", ["Behind the cloud: ", ...buttons], { class: "switch" }),
      make("span", `${board().simulated ? "A simulated scene" : "A scene"}, about half under cloud. Move the handle with the pointer or the arrow keys.`)]));
  };
  show(0);
  figure.dataset.of = own.entry.name;
  figure.hidden = false;
}

// ---------------------------------------------------------------- table

function heading(key, label) {
  const active = state.sort === key;
  const button = make("button", `${label}${active ? (state.down === "1" ? " ▾" : " ▴") : ""}`, { type: "button" });
  button.addEventListener("click", () => {
    change({ sort: key, down: active && state.down === "1" ? "0" : "1" });
    document.querySelector(`#table th[data-key=${key}] button`).focus();
  });
  const order = active ? (state.down === "1" ? "descending" : "ascending") : "none";
  const direction = key !== "method" && METRICS[key].up ? order
    : { descending: "ascending", ascending: "descending", none: "none" }[order];
  return make("th", button, { scope: "col", "aria-sort": direction, "data-key": key, class: active ? "sorted" : "" });
}

function titled(metric) {
  const { label, unit, up } = METRICS[metric];
  return `${label} ${up ? "↑" : "↓"}${unit ? ` [${unit}]` : ""}`;
}

function captionOf() {
  const parts = AXES.filter((axis) => state[axis] !== "all").map((axis) => named(axis, state[axis]));
  return `${trackOf(board())}, protocol ${board().protocol}: ${parts.length ? parts.join(", ") : "all pixels"}${board().entries.length ? `; ${countsOf(behindBoard())}` : ""}`;
}

function countsOf({ scenes, aois }) {
  return `${counted(scenes, "scene")}${alone() ? "" : ` of ${counted(aois, cluster())}`}`;
}

function named(axis, value) {
  return { land_cover: value, cover_bin: `cloud cover ${binOf(value)} %`, region: `${value} pixels` }[axis];
}

function showTable(rows, input) {
  const { places, comparison } = state.sort === "method" ? { places: new Map() } : rankings(rows, state.sort);
  const scales = Object.fromEntries(columns().map((metric) => [metric, scaleOf(rows, metric)]));
  const groups = groupsOf(ranked(rows), places);
  const head = [make("th", "Rank", { scope: "col" }), heading("method", "Method"),
    ...columns().map((metric) => heading(metric, titled(metric))),
    make("th", alone() ? "Scenes" : `Scenes, ${cluster()}s`, { scope: "col" })];
  const body = ranked(rows).map((row) => tableRow(row, places.get(row.entry.name), scales, groups));
  if (input) {
    body.push(make("tr", [make("td", make("span", "")), make("th", INPUT, { scope: "row", class: "text" }),
      ...columns().map((metric) => make("td", labelled(input[metric], metric, scales[metric]), { class: metric === state.sort ? "sorted" : "" })),
      countCell(behindBoard())], { class: "unranked", "data-name": "input" }));
  }
  at("table").replaceChildren(
    make("caption", captionOf(), { class: "note" }), make("thead", make("tr", head)), make("tbody", body));
  showDetectable(comparison);
}

/** Ends of the axis on which the intervals of a column are drawn: of the rows that are not far off. */
function scaleOf(rows, metric) {
  const scores = rows.map((row) => row.scores[metric]).filter(({ value }) => Number.isFinite(value));
  const middle = median(scores.map(({ value }) => value));
  const reach = FAR * median(scores.map(({ value }) => Math.abs(value - middle)));
  const ends = scores.filter(({ value }) => Math.abs(value - middle) <= reach).flatMap(({ low, high, value }) => [low, high, value]).filter(Number.isFinite);
  return ends.length ? [Math.min(...ends), Math.max(...ends)] : [0, 1];
}

function median(values) {
  const order = [...values].sort((left, right) => left - right);
  return order.length ? (order[(order.length - 1) >> 1] + order[order.length >> 1]) / 2 : NaN;
}

/** Letters that several rows share, each with its first and its last row; none if there are too many to draw. */
function groupsOf(rows, places) {
  const marks = rows.map((row) => (places.get(row.entry.name)?.letters || "").match(/[a-z]\d*/g) || []);
  const shared = [...new Set(marks.flat())].filter((mark) => marks.filter((own) => own.includes(mark)).length > 1);
  return shared.length > MOST_GROUPS ? [] : shared;
}

/** A score, its interval as a bar and in figures, and the effective number of AOIs behind it. */
function labelled(score, metric, scale, letters = "") {
  const { digits } = METRICS[metric];
  const parts = [text(score.value, digits)];
  if (letters) parts.push(make("span", letters, { class: "letters" }));
  if (!Number.isFinite(score.high - score.low)) return parts;
  const place = (value) => 100 * (scale[1] > scale[0] ? (value - scale[0]) / (scale[1] - scale[0]) : 0.5);
  const [low, high, middle] = [score.low, score.high, score.value].map(place);
  const [from, to] = [Math.max(low, 0), Math.min(high, 100)];
  const marks = middle < -1 ? [draw("path", { d: "M0 3L4 0V6z", class: "beyond" })] : middle > 101 ? [draw("path", { d: "M100 3L96 0V6z", class: "beyond" })]
    : [draw("rect", { x: from, width: Math.max(to - from, 1), y: 1.5, height: 3 }), draw("rect", { x: middle - 0.75, width: 1.5, y: 0, height: 6, class: "value" })];
  parts.push(draw("svg", { viewBox: "-1 0 102 6", preserveAspectRatio: "none", class: "interval", "aria-hidden": "true" },
    [draw("path", { d: "M0 3H100", class: "rail" }), ...marks]));
  return [...parts, make("span", range(score, digits), { class: "pm" })];
}

function effective(score) {
  return Number.isFinite(score.effective) ? `${text(score.effective, 1)} of ${counted(score.aois, cluster())} of equal error would determine this score as well.` : "";
}

function countCell({ scenes, aois }, words = "") {
  return make("td", [make("span", scenes.toLocaleString("en"), { "data-count": "scenes" }),
    alone() ? null : make("span", [make("span", String(aois), { "data-count": "aois" }), ` ${cluster()}${aois === 1 ? "" : "s"}`], { class: "pm" }),
    words ? make("span", words, { class: "pm" }) : null]);
}

function tableRow({ entry, scores }, ranking, scales, groups) {
  const name = make("button", entry.method, { type: "button", class: "name" });
  name.addEventListener("click", () => { change({ entry: entry.name }); at("entry-title").scrollIntoView(); });
  const cells = columns().map((metric) => {
    const isSorted = metric === state.sort;
    const title = effective(scores[metric]);
    return make("td", labelled(scores[metric], metric, scales[metric], ranking && isSorted ? ranking.letters : ""),
      { "data-metric": metric, class: `${isSorted ? "sorted" : ""}${isSorted && ranking?.best ? " best" : ""}`, ...(title && { title }) });
  });
  const own = ranking?.letters.match(/[a-z]\d*/g) || [];
  const bars = groups.map((mark) => make("i", "", { class: own.includes(mark) ? "on" : "" }));
  const [from, to] = ranking?.range || [0, 0];
  const rank = [make("span", ranking ? String(ranking.rank) : "–"), to > from ? make("span", `${from}–${to}`, { class: "pm" }) : null,
    make("span", bars, { class: "groups", "aria-hidden": "true" })];
  const classes = [entry.complete ? "" : "unranked", ranking?.best ? "tied" : ""].filter(Boolean).join(" ");
  return make("tr", [
    make("td", rank, { class: "rank" }), make("th", [name, make("span", badges(entry), { class: "marks" })], { scope: "row", class: "text" }),
    ...cells, countCell(behind(entry.name), entry.complete ? "" : `${entry.coverage} in all, not ranked`),
  ], { "data-name": entry.name, ...(classes && { class: classes }) });
}

/** What must be known of an entry at first sight. */
function badges(entry) {
  const same = entry.same_predictions.map(methodOf).join(", ");
  return [
    [entry.status, entry.status, DATA.statuses[entry.status]],
    [entry.inputs.length ? (entry.inputs.includes("sar") ? "optical + SAR" : "optical") : "inputs not stated", "plain", "What it looks at"],
    ...(isOfficial() ? [[`input window ${windowOf(entry.input_window)}`, "crop", DATA.windows[entry.input_window]]] : []),
    ...(entry.training ? [[entry.training, "plain", "How it was trained, as its card says"]] : []),
    ...(same ? [[`same predictions as ${same}: one rank`, "same", "Equal pixel by pixel"]] : []),
  ].flatMap(([words, style, title]) => [make("span", words, { class: `badge ${style}`, title }), " "]);
}

// A method, with its input window where the official figures of several windows stand side by side.
function markedMethod(entry) {
  const windows = new Set(board().entries.map((each) => each.input_window));
  return isOfficial() && windows.size > 1 ? `${entry.method} (input ${windowOf(entry.input_window)})` : entry.method;
}

function methodOf(name) {
  const entry = board().entries.find((candidate) => candidate.name === name);
  return entry ? markedMethod(entry) : INPUT;
}

/** The detectable difference of the sorted score, of one pair alone and corrected for all. */
function showDetectable(comparison) {
  const known = comparison && Number.isFinite(comparison.alone);
  const size = (gap) => withUnit(gap, state.sort, true);
  at("detectable").textContent = known ? `Detectable difference in ${METRICS[state.sort].label}: of most pairs, gaps below ${size(comparison.alone)} `
    + `are not significant${comparison.pairs.length > 1 ? `, below ${size(comparison.corrected)} with all ${comparison.pairs.length} pairs corrected (Holm)` : ""}.` : "";
}

/** The table as a file: what is shown, with the ends of intervals in columns of their own. */
function csv() {
  const { rows, input } = scored();
  const { places } = rankings(rows, sortMetric());
  const head = ["rank", "name", "method", "status", "inputs", "scenes", "aois",
    ...columns().flatMap((metric) => [metric, `${metric}_low`, `${metric}_high`])];
  const figures = (scores) => columns().flatMap((metric) => ["value", "low", "high"].map((end) => {
    const value = scores[metric][end];
    return Number.isNaN(value) ? "" : String(value === Infinity ? "inf" : Number(value.toPrecision(7)));
  }));
  const lines = ranked(rows).map(({ entry, scores }) => {
    const { scenes, aois } = behind(entry.name);
    return [places.get(entry.name)?.rank ?? "", entry.name, entry.method, entry.status, entry.inputs.join("+"), scenes, aois, ...figures(scores)];
  });
  if (input) lines.push(["", "input", INPUT, "", "", behindBoard().scenes, behindBoard().aois, ...figures(input)]);
  const quoted = (cell) => (/[",\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell);
  return [head, ...lines].map((line) => line.map(quoted).join(",")).join("\n") + "\n";
}

function download() {
  const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  const name = [state.track, state.protocol, ...AXES.map((axis) => state[axis]).filter((value) => value !== "all")].join("-");
  make("a", "", { href: address, download: `${name.replace(/[^\w.-]+/g, "_")}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

// ---------------------------------------------------------------- pairs, cards, further metrics, published figures

function showPair(rows) {
  const [first, second] = [state.a, state.b].map((name) => rows.find((row) => row.entry.name === name));
  const blank = !first || !second || first === second;
  showPairPicture(blank ? [] : [first.entry, second.entry]);
  if (blank) {
    at("pair-words").textContent = "";
    at("pair").replaceChildren(make("caption", "Choose two methods that are shown above.", { class: "note" }));
    return;
  }
  const untested = !first.entry.complete || !second.entry.complete ? "An incomplete entry covers other scenes: no difference is taken."
    : !board().comparable ? `Entries cover other ${cluster()}s: no difference is taken.` : "";
  const tests = columns().map((metric) => {
    const [left, right] = [first.scores[metric], second.scores[metric]];
    const difference = untested ? { value: NaN, error: NaN, freedom: NaN, p: NaN } : paired(left, right);
    const winner = (difference.value > 0) === METRICS[metric].up ? first : second;
    return { metric, left, right, difference, winner: difference.p < LEVEL ? winner : null };
  });
  at("pair-words").replaceChildren(...(untested ? [untested] : sentence(pairWords(first, second, tests))));
  const head = ["Score", markedMethod(first.entry), markedMethod(second.entry), "Difference, 95 % interval", "p", "Better"];
  const body = tests.map(({ metric, left, right, difference, winner }) => {
    const { digits } = METRICS[metric];
    const { value, p } = difference;
    const half = halfOf(difference);
    return make("tr", [make("th", titled(metric), { scope: "row" }), make("td", text(left.value, digits)), make("td", text(right.value, digits)),
      make("td", `${text(value, digits, true)}${Number.isFinite(half) ? ` ± ${text(half, digits)}` : ""}`),
      make("td", Number.isNaN(p) ? "–" : p < 0.001 ? "< 0.001" : text(p, 3)),
      make("td", Number.isNaN(p) ? "–" : winner ? markedMethod(winner.entry) : `not significantly different (${chance(p)})`)], { "data-metric": metric });
  });
  at("pair").replaceChildren(make("caption", `${captionOf()}; p of this one comparison`, { class: "note" }),
    make("thead", make("tr", head.map((title) => make("th", title, { scope: "col" })))), make("tbody", body));
}

/** Which of two methods is better in what, in words. */
function pairWords(first, second, tests) {
  const known = tests.filter(({ difference }) => !Number.isNaN(difference.p));
  const list = (own) => own.map(({ metric, difference }) =>
    `${METRICS[metric].label} (by ${withUnit(Math.abs(difference.value), metric, true)}, ${chance(difference.p)})`);
  const joined = (words) => words.join(", ").replace(/, ([^,]*\([^)]*\))$/, " and $1");
  const wins = [first, second].map((row) => known.filter(({ winner }) => winner === row));
  const parts = [first, second].flatMap((row, index) => (wins[index].length
    ? [[markedMethod(row.entry)], ` is better in ${joined(list(wins[index]))}. `] : []));
  const same = known.filter(({ winner }) => !winner).map(({ metric, difference }) => `${METRICS[metric].label} (${chance(difference.p)})`);
  if (same.length) parts.push(wins.flat().length ? `Not significantly different: ${joined(same)}.` : `They are not significantly different in ${joined(same)}.`);
  return parts;
}

async function showPairPicture(entries) {
  const figure = at("pair-picture");
  const usable = entries.length === 2 && entries.every(({ samples }) => samples);
  figure.hidden = !usable || !(await Promise.all(entries.map(({ samples }) => hasParts(samples)))).every(Boolean);
  if (figure.hidden) return;
  const sides = entries.map((entry) => ({ src: entry.samples, part: 1, label: entry.method }));
  figure.replaceChildren(comparing(...sides), make("figcaption", "What the two make of the same scene."));
}

const CARD = { authors: "Authors", year: "Year", paper: "Paper", code: "Code", licence: "Licence", inputs: "Inputs",
  training_data: "Training data", extra_data: "Beyond the training split", parameters: "Parameters",
  macs: "Multiply–adds per patch", hardware: "Hardware", training: "Training", notes: "Notes" };

function showCard() {
  const entry = board().entries.find(({ name }) => name === state.entry);
  showSamples(entry);
  if (!entry) {
    at("card").replaceChildren();
    return;
  }
  const list = [["Status", `${entry.status}: ${DATA.statuses[entry.status]}`], ["Scored", entry.coverage]];
  for (const [key, label] of Object.entries(CARD)) {
    const value = entry.card && entry.card[key];
    if (value !== null && value !== undefined && value !== "" && value.length !== 0) list.push([label, asText(value)]);
  }
  if (!entry.card) list.push(["Card", "none: run by the maintainers without a card"]);
  for (const [label, value] of Object.entries(entry.run)) list.push([label, value]);
  const parts = [make("dl", list.flatMap(([term, value]) => [make("dt", term), make("dd", value)]))];
  if (entry.card && entry.card.bibtex) parts.push(make("pre", entry.card.bibtex, { tabindex: "0", "aria-label": `BibTeX of ${entry.method}` }));
  at("card").replaceChildren(...parts);
}

async function showSamples(entry) {
  const src = entry ? entry.samples : "";
  const apart = src && await hasParts(src);
  if (entry && entry.name !== state.entry) return; // another one was chosen meanwhile
  const picture = (label, part) => make("figure", [
    make("div", make("img", "", { src, alt: `${label}: sample scene of ${entry.method}`, class: `part${part}` }), { class: "shot" }), make("figcaption", label)]);
  const whole = () => [make("figure", [make("img", "", { src, alt: `Sample scenes of ${entry.method}`, class: "whole" }),
    make("figcaption", `Sample scenes: ${SAMPLE.join(", ")}.`)])];
  at("samples").replaceChildren(...(!src ? [] : apart ? SAMPLE.map(picture) : whole()));
}

function asText(value) {
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value === "number" && value > 9999) return value.toLocaleString("en");
  const address = String(value);
  return /^https?:\/\/[^\s]+$/.test(address) ? make("a", address, { href: address, rel: "noopener nofollow ugc" }) : address;
}

/** Metrics beside the paper's, computed over everything that was scored: no filter of pixels changes them. */
function showFurther(rows) {
  const entries = ranked(rows).map((row) => row.entry);
  const body = board().further.map((metric) => [DATA.further[metric].title, ...entries.map(({ further }) => {
    const [value, low, high, letters] = further[metric].map((each, index) => (index < 3 ? fromJson(each) : each));
    const { digits } = DATA.further[metric];
    return [text(value, digits), make("span", letters, { class: "letters" }), make("span", range({ low, high }, digits), { class: "pm" })];
  })]);
  at("further").replaceChildren(...plainTable(`${trackOf(board())}, protocol ${board().protocol}: all pixels, whatever is chosen above. `
    + "Nothing is ranked by them; letters as above.", ["Metric", ...entries.map((entry) => `${markedMethod(entry)}${entry.complete ? "" : ` (${entry.coverage})`}`)], body));
}

/** A number as JSON has it here: null for unknown, text for infinite. */
function fromJson(value) {
  return { inf: Infinity, "-inf": -Infinity }[value] ?? value ?? NaN;
}

function showPublished() {
  const rows = board().published;
  at("published-figures").hidden = !rows.length;
  if (!rows.length) return;
  at("published-note").textContent = `${DATA.published.source}. Overall and per class as printed; nothing here is ranked.`;
  const classes = DATA.axes.land_cover.slice(0, -1);
  const head = ["Method", "Input window", ...HEADLINE.map(titled),
    ...classes.map((name) => `MAE ${name}`), ...classes.map((name) => `SAM ${name}`)];
  const body = rows.map((row) => [row.row, windowOf(row.input_window), ...HEADLINE.map((metric) => printed(row[metric], 4)),
    ...classes.map((name) => printed(row[`mae_${name}`], 4)), ...classes.map((name) => printed(row[`sam_deg_${name}`], 4))]);
  at("published").replaceChildren(...plainTable("Tab. 2", head, body, "unranked"));
  const bins = [...DATA.axes.cover_bin, "overall"];
  const names = [...new Set(DATA.published.table3.map((row) => row.row))];
  const figures = names.map((name) => [name, ...["miou", "pa"].flatMap((score) => bins.map((bin) => {
    const cell = DATA.published.table3.find((row) => row.row === name && row.cover_bin === bin);
    return printed(cell && cell[score], 2);
  }))]);
  const titles = ["mIoU", "PA"].flatMap((score) => bins.map((bin) => `${score} ${bin}`));
  at("published3").replaceChildren(...plainTable("Tab. 3, percent", ["Image", ...titles], figures, "unranked"));
}

function printed(value, digits) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

function plainTable(caption, head, rows, style = "") {
  return [make("caption", caption, { class: "note" }),
    make("thead", make("tr", head.map((title) => make("th", title, { scope: "col" })))),
    make("tbody", rows.map(([name, ...cells]) => make("tr",
      [make("th", name, { scope: "row" }), ...cells.map((cell) => make("td", cell))], style ? { class: style } : {})))];
}

// ---------------------------------------------------------------- notes

function showAbout() {
  const chosen = AXES.some((axis) => state[axis] !== "all");
  const whole = { scenes: board().scenes, aois: behindBoard(EVERYTHING).aois };
  const parts = [DATA.verified_only ? "Verified entries only." : "",
    chosen ? `Chosen: ${countsOf(behindBoard())}, out of ${countsOf(whole)}.` : "", ...board().missing];
  at("about").textContent = parts.filter(Boolean).join(" ");
}

const PROTOCOLS = {
  official: "Protocol official: the centre 160 × 160 pixels of each patch, by the conventions of the authors' tester, as means over "
    + "scenes. Only these scores can be compared with the paper's. One filter of pixels can be chosen at a time.",
  full: "Protocol full: whole patches and clean definitions, one ratio of all pixels.",
};

function showNotes(rows) {
  const entries = rows.map((row) => row.entry);
  const partial = entries.filter((entry) => !entry.complete).length;
  const statuses = [...new Set(entries.map((entry) => entry.status))].sort();
  const windows = new Set(entries.map((entry) => entry.input_window));
  const lines = [
    `Bars and brackets: 95 % interval over ${cluster()}s. Shaded: not significantly different from the best.`,
    partial ? `${partial} incomplete: not ranked.` : "",
    board().remark,
    isOfficial() ? "Input window: what the network was shown of a patch; official figures depend on it." : "",
    isOfficial() && windows.size > 1 ? "This table has rows of different input windows; compare only rows of the same one." : "",
    ...statuses.map((status) => `${status[0].toUpperCase()}${status.slice(1)}: ${DATA.statuses[status]}`),
  ];
  at("notes").textContent = lines.filter(Boolean).join(" ");
  at("protocol-words").textContent = PROTOCOLS[board().protocol];
  at("signature").textContent = `Signature: ${board().signature}`;
}

// ---------------------------------------------------------------- state and address

function showFilters() {
  const tracks = new Map(DATA.boards.map((each) => [each.track, trackOf(each)]));
  fill(at("track"), [...tracks], state.track);
  fill(at("protocol"), DATA.boards.filter(({ track }) => track === state.track).map(({ protocol }) => [protocol, protocol]), state.protocol);
  const words = { land_cover: "all classes", cover_bin: "all", region: "all" };
  for (const axis of AXES) {
    const options = DATA.axes[axis].map((value) => [value, axis === "cover_bin" ? `${binOf(value)} %` : value]);
    fill(at(axis), [["all", words[axis]], ...options], state[axis]);
    at(axis).parentElement.hidden = !board().known[axis];
  }
  fill(at("segmenter"), Object.entries(board().segmenters).map(([key, segmenter]) => [key, segmenter.name]), state.segmenter);
  at("segmenter").parentElement.hidden = Object.keys(board().segmenters).length < 2;
  const methods = board().entries.map((entry) => [entry.name, markedMethod(entry)]);
  for (const id of ["a", "b", "entry"]) fill(at(id), methods, state[id]);
  at("inputs").value = state.inputs;
  at("verified").checked = state.verified === "1";
}

/** Keep the state possible: names that the board has, and no split that it cannot make. */
function settle() {
  const ofTrack = DATA.boards.filter(({ track }) => track === state.track);
  const boards = ofTrack.length ? ofTrack : DATA.boards.filter(({ track }) => track === DATA.boards[0].track);
  const usual = boards.find(({ protocol, track }) => protocol === (track === "planet-cr" ? "official" : "full")) || boards[0];
  const own = boards.find(({ protocol }) => protocol === state.protocol) || usual;
  Object.assign(state, { track: own.track, protocol: own.protocol });
  for (const axis of AXES) if (!board().known[axis] || !DATA.axes[axis].includes(state[axis])) state[axis] = "all";
  if (!board().cells.additive) AXES.filter((axis) => state[axis] !== "all").slice(1).forEach((axis) => { state[axis] = "all"; });
  if (!["optical", "sar"].includes(state.inputs)) state.inputs = "all";
  if (state.verified !== "1") state.verified = "";
  const segmenters = Object.keys(board().segmenters);
  if (!segmenters.includes(state.segmenter)) state.segmenter = segmenters[0] || "";
  if (state.sort !== "method" && !columns().includes(state.sort)) state.sort = START.sort;
  const names = board().entries.map((entry) => entry.name);
  const known = (name, fallback) => (names.includes(name) ? name : fallback || "");
  const best = names.length ? ranked(scored().rows).map((row) => row.entry.name) : [];
  state.a = known(state.a, best[0] || names[0]);
  state.b = known(state.b, best.find((name) => name !== state.a) || names[0]);
  state.entry = known(state.entry, best[0] || names[0]);
}

function show() {
  settle();
  showFilters();
  for (const part of document.querySelectorAll(".measured")) part.hidden = !board().entries.length;
  at("charts-title").parentElement.hidden = !board().known.cover_bin || !board().entries.length;
  const { rows, input } = scored();
  showHead(rows);
  showTable(rows, input);
  showAbout();
  showNotes(rows);
  showBeforeAfter(rows);
  showCharts(rows);
  showPair(rows);
  showCard();
  showFurther(rows);
  showPublished();
}

function change(wanted) {
  Object.assign(state, wanted);
  const axis = Object.keys(wanted).find((key) => AXES.includes(key) && wanted[key] !== "all");
  if (axis && Object.keys(wanted).length === 1 && !board().cells.additive) Object.assign(state, EVERYTHING, wanted);
  show();
  const address = new URLSearchParams({ track: state.track, protocol: state.protocol,
    ...Object.fromEntries(Object.entries(state).filter(([key, value]) => value !== START[key])) });
  history.replaceState(null, "", `#${address}`);
}

function readAddress() {
  const address = new URLSearchParams(location.hash.slice(1));
  Object.assign(state, START);
  for (const [key, value] of address) if (key in START) state[key] = value;
}

function begin() {
  for (const id of ["track", "protocol", ...AXES, "inputs", "segmenter", "a", "b", "entry"]) {
    at(id).addEventListener("change", (event) => change(id === "track" ? { ...START, track: event.target.value } : { [id]: event.target.value }));
  }
  at("verified").addEventListener("change", (event) => change({ verified: event.target.checked ? "1" : "" }));
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("reset").addEventListener("click", () => change({ ...EVERYTHING, inputs: "all", verified: "" }));
  at("csv").addEventListener("click", download);
  for (const link of document.querySelectorAll("a[href^='#']")) {
    link.addEventListener("click", (event) => { // the address keeps what is shown
      event.preventDefault();
      const target = document.querySelector(link.getAttribute("href"));
      target.setAttribute("tabindex", "-1");
      target.scrollIntoView();
      target.focus({ preventScroll: true });
    });
  }
  window.addEventListener("hashchange", () => { readAddress(); show(); });
  window.addEventListener("beforeprint", () => { at("how").open = true; });
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== width) showCharts(scored().rows);
    width = window.innerWidth;
  });
  at("bibtex").textContent = DATA.bibtex;
  at("main").hidden = false;
  readAddress();
  show();
  performance.mark("shown");
}

unpack().then(begin, () => { at("failure").hidden = false; });
