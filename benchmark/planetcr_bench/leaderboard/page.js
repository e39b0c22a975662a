"use strict";
// Everything on the page is computed here from sums per area of interest; text is only ever text.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SCALES = { linear: (ratio) => ratio, sqrt: Math.sqrt, log: (ratio) => -10 * Math.log10(ratio) };
const METRICS = Object.fromEntries(DATA.metrics.map(({ name, possible: [low, high], ...metric }) =>
  [name, { ...metric, up: metric.better === "higher", possible: [low ?? -Infinity, high ?? Infinity] }]));
const HEADLINE = Object.keys(METRICS).filter((metric) => !METRICS[metric].segmented);
const LEVEL = 0.05;
const COLOURS = 8;
const INPUT = "Cloudy (input)";
const AXES = ["land_cover", "cover_bin", "region"];
const START = { board: "0", land_cover: "all", cover_bin: "all", region: "all", inputs: "all", verified: "", segmenter: "",
  sort: "psnr", down: "1", a: "", b: "", entry: "" };
const state = { ...START };
const at = (id) => document.getElementById(id);

// ---------------------------------------------------------------- arrays and sums

const decoded = new Map();

function numbers(key) {
  if (!decoded.has(key)) {
    const letters = atob(DATA.arrays[key]);
    const bytes = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i += 1) bytes[i] = letters.charCodeAt(i);
    decoded.set(key, new Float32Array(bytes.buffer)); // little-endian, as every browser's machine is
  }
  return decoded.get(key);
}

/** What a function returned for the same words before. */
function cached(cache, words, work) {
  const key = JSON.stringify(words);
  if (!cache.has(key)) cache.set(key, work());
  return cache.get(key);
}

const cellsChosen = new Map();

/** Cells of a board that a selection adds, each with the position of its AOI. */
function chosenCells(board, selection) {
  return cached(cellsChosen, [board.id, selection], () => findCells(board, selection));
}

function findCells(board, selection) {
  const index = numbers(board.cells.index);
  const wanted = AXES.map((axis) => {
    const position = DATA.axes[axis].indexOf(selection[axis]);
    return position < 0 ? (board.cells.additive ? -1 : DATA.axes[axis].length) : position;
  });
  const cells = [];
  for (let i = 0; i < index.length / 4; i += 1) {
    if (wanted.every((position, axis) => position < 0 || index[4 * i + axis + 1] === position)) {
      cells.push([i, index[4 * i]]);
    }
  }
  return cells;
}

/** Sums per AOI of one metric of one entry: what a ratio is made of, above and below. Null if there are none. */
function ratioSums(board, name, metric, selection) {
  if (!board.cells.sums[name]) return null;
  const cells = chosenCells(board, selection);
  const tops = numbers(board.cells.sums[name][`top_${metric}`]);
  const bottoms = numbers(board.cells.sums[name][`bottom_${metric}`]);
  const parts = board.cells.aois.map(() => [0, 0]);
  for (const [cell, aoi] of cells) {
    parts[aoi][0] += tops[cell];
    parts[aoi][1] += bottoms[cell];
  }
  return ratios(parts, metric, board.cells.additive);
}

/** A ratio of sums: what it is of any, what each AOI's size is and what it counts as error there. */
function ratios(parts, metric, additive) {
  const { up, scale, possible } = METRICS[metric];
  const scaled = additive ? SCALES[scale] : SCALES.linear;
  const errors = ([top, bottom]) => {
    if (scale === "log" && !additive) return bottom; // decibels of scenes: no sum of errors
    return up && scale === "linear" ? Math.max(possible[1] * bottom - top, 0) : top;
  };
  return { parts, score: ([top, bottom]) => (bottom > 0 ? scaled(top / bottom) : NaN), size: (part) => part[1], errors, metric };
}

const countsSeen = new Map();

/** How many scenes and AOIs of an entry a selection has. */
function behind(name, chosen = selection()) {
  return cached(countsSeen, [board().id, name, chosen], () => countBehind(board(), name, chosen));
}

function countBehind({ counts }, name, chosen) {
  const index = numbers(counts.index);
  const scenes = numbers(counts.scenes[name]);
  const wanted = AXES.map((axis) => {
    const position = DATA.axes[axis].indexOf(chosen[axis]);
    return position >= 0 ? position : axis === "cover_bin" ? -1 : DATA.axes[axis].length;
  });
  const perAoi = new Map();
  for (let i = 0; i < scenes.length; i += 1) {
    if (scenes[i] > 0 && wanted.every((position, axis) => position < 0 || index[4 * i + axis + 1] === position)) {
      perAoi.set(index[4 * i], (perAoi.get(index[4 * i]) || 0) + scenes[i]);
    }
  }
  return { scenes: [...perAoi.values()].reduce((sum, count) => sum + count, 0), aois: perAoi.size };
}

/** The most scenes that any entry of the board has of a selection, as far as we know all there are. */
function behindBoard(chosen = selection()) {
  return board().entries.map((entry) => behind(entry.name, chosen))
    .reduce((most, counts) => (counts.scenes > most.scenes ? counts : most), { scenes: 0, aois: 0 });
}

/** Confusion matrices per AOI, flat 6 × 6: true class × predicted class. */
function segmenterSums(board, name, metric, selection) {
  const segmenter = board.segmenters[state.segmenter];
  const classes = DATA.axes.land_cover.length - 1;
  const key = segmenter && segmenter.predicted[name];
  if (!key || selection.region !== "all") return null;
  const index = numbers(segmenter.index);
  const pixels = numbers(key);
  const bin = DATA.axes.cover_bin.indexOf(selection.cover_bin);
  const parts = board.cells.aois.map(() => new Array(classes * classes).fill(0));
  for (let i = 0; i < index.length / 3; i += 1) {
    if (bin >= 0 && index[3 * i + 2] !== bin) continue;
    for (let seen = 0; seen < classes; seen += 1) {
      parts[index[3 * i]][index[3 * i + 1] * classes + seen] += pixels[classes * i + seen];
    }
  }
  return matrices(parts, metric, DATA.axes.land_cover.indexOf(selection.land_cover));
}

/** A score of confusion matrices, of all classes or of only one, with sizes and errors as `ratios`. */
function matrices(parts, metric, only) {
  const classes = Math.sqrt(parts.length ? parts[0].length : 0);
  const score = (matrix) => (metric === "miou" ? meanIou(matrix, classes, only) : accuracy(matrix, classes, only));
  const chosen = Array.from({ length: classes }, (_, index) => index).filter((index) => only < 0 || index === only);
  const hits = (matrix) => chosen.reduce((sum, index) => sum + matrix[index * classes + index], 0);
  const size = (matrix) => matrix.reduce((sum, count, cell) => {
    const [truth, seen] = [Math.floor(cell / classes), cell % classes];
    return sum + (only < 0 || truth === only || (metric === "miou" && seen === only) ? count : 0);
  }, 0);
  return { parts, score, size, errors: (matrix) => size(matrix) - hits(matrix), metric };
}

function meanIou(matrix, classes, only) {
  const ious = [];
  for (let index = 0; index < classes; index += 1) {
    if (only >= 0 && index !== only) continue;
    let truth = 0;
    let seen = 0;
    for (let other = 0; other < classes; other += 1) {
      truth += matrix[index * classes + other];
      seen += matrix[other * classes + index];
    }
    const hits = matrix[index * classes + index];
    if (truth > 0) ious.push(hits / (truth + seen - hits));
  }
  return ious.length ? (100 * ious.reduce((sum, iou) => sum + iou, 0)) / ious.length : NaN;
}

function accuracy(matrix, classes, only) {
  let hits = 0;
  let all = 0;
  for (let index = 0; index < classes; index += 1) {
    if (only >= 0 && index !== only) continue;
    hits += matrix[index * classes + index];
    for (let other = 0; other < classes; other += 1) all += matrix[index * classes + other];
  }
  return all > 0 ? (100 * hits) / all : NaN;
}

function sumsOf(board, name, metric, selection) {
  return (METRICS[metric].segmented ? segmenterSums : ratioSums)(board, name, metric, selection);
}

// ---------------------------------------------------------------- statistics

function total(parts) {
  return parts[0].map((_, column) => parts.reduce((sum, part) => sum + part[column], 0));
}

// The same engine as in Python's analysis/intervals.py and significance.py, which explains it; tests hold the two together.

const UNKNOWN = { value: NaN, low: NaN, high: NaN, freedom: NaN, aois: 0, effective: NaN, without: [], measured: [] };

/** A score of all AOIs with its interval, and what a comparison needs: the score without each AOI. */
function estimate(sums) {
  if (!sums || !sums.parts.length) return UNKNOWN;
  const all = total(sums.parts);
  const value = sums.score(all);
  const sizes = sums.parts.map(sums.size);
  const without = sums.parts.map((part) => sums.score(all.map((sum, column) => sum - part[column])));
  const measured = sizes.map((size) => size > 0);
  const freedom = freedomOf(sizes);
  const { log_interval, possible } = METRICS[sums.metric];
  const [scale, back] = log_interval ? [Math.log, Math.exp] : [(x) => x, (x) => x];
  const same = Number.isFinite(value) && without.every((left) => left === value);
  const aois = measured.filter(Boolean).length;
  const error = same && aois > 1 ? 0 : errorOf(without.map(scale), measured);
  const [low, high] = [-1, 1].map((sign) => {
    const end = back(scale(value) + sign * student(LEVEL, freedom) * error);
    return Math.min(Math.max(end, possible[0]), possible[1]);
  });
  return { value, low, high, freedom, aois, effective: effectiveOf(sums.parts.map(sums.errors), sizes), without, measured };
}

/** The effective number of AOIs behind a score: (Σ e)² / Σ e² over the errors of AOIs (Kish 1965). */
function effectiveOf(errors, sizes) {
  const sum = (values) => values.reduce((partial, value) => partial + value, 0);
  const total = sum(errors);
  const counted = total > 0 && total < Infinity ? errors : sizes;
  return sum(counted) ** 2 / sum(counted.map((value) => value ** 2));
}

/** Degrees of freedom of a jackknife error, from the AOIs' sizes (Satterthwaite 1946). */
function freedomOf(sizes) {
  const known = sizes.filter((size) => size > 0);
  const sum = known.reduce((partial, size) => partial + size, 0);
  if (known.length < 2) return NaN;
  const shares = known.map((size) => size / sum);
  const off = shares.map((share) => share / (1 - share));
  const squares = shares.reduce((partial, share) => partial + share ** 2, 0);
  const form = shares.map((left, i) => shares.map((right, j) =>
    off[i] * off[j] * ((i === j ? 1 : 0) - left - right + squares)));
  const means = form.map((row) => row.reduce((partial, value) => partial + value, 0) / row.length);
  const mean = means.reduce((partial, value) => partial + value, 0) / means.length;
  let trace = 0;
  let norm = 0;
  form.forEach((row, i) => row.forEach((value, j) => {
    const centred = value - means[i] - means[j] + mean;
    if (i === j) trace += centred;
    norm += centred ** 2;
  }));
  return Math.min(trace ** 2 / norm, known.length - 1);
}

/** Standard error of a score without each AOI that was measured: a jackknife. */
function errorOf(without, measured) {
  let count = 0;
  let mean = 0;
  for (let i = 0; i < without.length; i += 1) if (measured[i]) { count += 1; mean += without[i]; }
  mean /= count;
  let squares = 0;
  for (let i = 0; i < without.length; i += 1) if (measured[i]) squares += (without[i] - mean) ** 2;
  return count > 1 && Number.isFinite(squares) ? Math.sqrt(((count - 1) / count) * squares) : NaN;
}

/** Difference of two methods on the same AOIs: value, standard error, and p of no difference. */
function paired(first, second) {
  const freedom = Math.min(first.freedom, second.freedom);
  const same = first.without.every((left, aoi) => alike(left, second.without[aoi])) && alike(first.value, second.value);
  if (same) return { value: 0, error: Number.isNaN(freedom) ? NaN : 0, freedom, p: 1 };
  const value = first.value - second.value;
  const error = errorOf(first.without.map((left, aoi) => left - second.without[aoi]),
    first.measured.map((measured, aoi) => measured || second.measured[aoi]));
  const p = error === 0 ? (value === 0 ? 1 : 0) : tTail(Math.abs(value) / error, freedom);
  return { value, error, freedom, p };
}

function alike(left, right) {
  return left === right || Math.abs(left - right) <= 1e-12 * Math.abs(right) || (Number.isNaN(left) && Number.isNaN(right));
}

/** Half of the interval of a difference, corrected for so many comparisons as in Holm's first step. */
function halfOf(pair, comparisons = 1) {
  return student(LEVEL / comparisons, pair.freedom) * pair.error;
}

/** Detectable difference of most pairs: the median half-width. */
function detectable_difference(pairs, comparisons) {
  const halves = pairs.filter((pair) => pair.p < 1).map((pair) => halfOf(pair, comparisons))
    .filter(Number.isFinite).sort((left, right) => left - right);
  const middle = halves.length / 2;
  return halves.length ? (halves[Math.ceil(middle) - 1] + halves[Math.floor(middle)]) / 2 : NaN;
}

/** The chance that |t| is larger. */
function tTail(t, freedom) {
  return t >= 0 && freedom > 0 ? incompleteBeta(freedom / 2, 0.5, freedom / (freedom + t * t)) : NaN;
}

const quantiles = new Map();

/** What |t| exceeds with a chance of `level`. */
function student(level, freedom) {
  return cached(quantiles, [level, freedom], () => {
    if (!(freedom > 0)) return NaN;
    let [low, high] = [0, 1];
    while (tTail(high, freedom) > level) high *= 2;
    for (let step = 0; step < 60; step += 1) {
      const middle = (low + high) / 2;
      if (tTail(middle, freedom) > level) low = middle; else high = middle;
    }
    return low;
  });
}

/** Regularised incomplete beta function by its continued fraction (Lentz). */
function incompleteBeta(a, b, x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(b, a, 1 - x);
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) - logBeta(a, b)) / a;
  const safe = (value) => (Math.abs(value) < 1e-300 ? 1e-300 : value);
  let c = 1;
  let d = 1 / safe(1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m < 300; m += 1) {
    const steps = [
      (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
      (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
    ];
    const before = fraction;
    for (const step of steps) {
      d = 1 / safe(1 + step * d);
      c = safe(1 + step / c);
      fraction *= d * c;
    }
    if (Math.abs(fraction - before) < 1e-15 * Math.abs(fraction)) break;
  }
  return front * fraction;
}

function logBeta(a, b) {
  return logGamma(a) + logGamma(b) - logGamma(a + b);
}

/** Stirling's series, after moving the argument beyond 10. */
function logGamma(x) {
  let shift = 0;
  let z = x;
  while (z < 10) {
    shift -= Math.log(z);
    z += 1;
  }
  const tail = 1 / (12 * z) - 1 / (360 * z ** 3) + 1 / (1260 * z ** 5) - 1 / (1680 * z ** 7);
  return shift + (z - 0.5) * Math.log(z) - z + 0.5 * Math.log(2 * Math.PI) + tail;
}

/** Holm's correction, in the order given. */
function holm(values) {
  const order = values.map((_, i) => i).sort((i, j) => values[i] - values[j]);
  const corrected = new Array(values.length);
  let least = 0;
  order.forEach((i, rank) => {
    least = Math.max(least, Math.min(1, (values.length - rank) * values[i]));
    corrected[i] = least;
  });
  return corrected;
}

/** Letters of ranked methods, and the differences that can be detected: of one pair, and of all, corrected. */
function compared(ranked) {
  const places = [];
  const pairs = [];
  for (let i = 0; i < ranked.length; i += 1) {
    for (let j = i + 1; j < ranked.length; j += 1) {
      places.push([i, j]);
      pairs.push(paired(ranked[i], ranked[j]));
    }
  }
  const corrected = holm(pairs.map((pair) => (Number.isNaN(pair.p) ? 1 : pair.p)));
  return { pairs, letters: lettersOf(ranked.length, places.filter((_, k) => corrected[k] < LEVEL)),
    alone: detectable_difference(pairs, 1), corrected: detectable_difference(pairs, pairs.length) };
}

/** Letters from the pairs that differ significantly: two methods share one if, and only if, they do not (Piepho 2004). */
function lettersOf(count, pairs) {
  const different = new Array(count).fill(0n);
  for (const [i, j] of pairs) different[Math.min(i, j)] |= 1n << BigInt(Math.max(i, j));
  const marks = new Array(count).fill("");
  letterGroups(different).forEach((group, index) => group.forEach((i) => { marks[i] += letter(index); }));
  return marks;
}

const MANY = 4; // columns per method beyond which insertion is given up

/** Groups of methods with a letter in common: insertion, absorption and sweeping of columns of bits. */
function letterGroups(different) {
  let columns = [(1n << BigInt(different.length)) - 1n];
  for (let i = 0; i < different.length; i += 1) {
    const bit = 1n << BigInt(i);
    const split = columns.filter((column) => column & bit && column & different[i]);
    columns = columns.filter((column) => !(column & bit && column & different[i]));
    columns = absorb(columns, split.map((column) => column & ~different[i]));
    columns = absorb(columns, split.map((column) => column & ~bit));
    if (columns.length > MANY * different.length) {
      columns = cover(different);
      break;
    }
  }
  return sweep(columns.map(members), different.length).sort(byMembers);
}

function members(column) {
  const bits = column.toString(2);
  const positions = [];
  for (let i = 0; i < bits.length; i += 1) if (bits[bits.length - 1 - i] === "1") positions.push(i);
  return positions;
}

function byMembers(left, right) {
  for (let i = 0; i < Math.min(left.length, right.length); i += 1) if (left[i] !== right[i]) return left[i] - right[i];
  return left.length - right.length;
}

/** Columns and those of the new ones that lie in no other. */
function absorb(columns, added) {
  let kept = columns;
  for (const column of added) {
    if (!kept.some((other) => (column & other) === column)) {
      kept = [...kept.filter((other) => (other & column) !== other), column];
    }
  }
  return kept;
}

/** Columns that join every two methods without a significant difference, pair by pair, best first. */
function cover(different) {
  const everyone = (1n << BigInt(different.length)) - 1n;
  const bit = (i) => 1n << BigInt(i);
  const ties = different.map((others) => everyone & ~others);
  different.forEach((others, i) => members(others).forEach((j) => { ties[j] &= ~bit(i); }));
  const joined = different.map((_, i) => bit(i));
  const columns = [];
  ties.forEach((tied, i) => {
    for (let left = tied & ~joined[i]; left; left = tied & ~joined[i]) {
      let column = bit(i);
      let common = tied & ~bit(i);
      for (const j of [...members(left), ...members(common)]) {
        if (common & bit(j)) {
          column |= bit(j);
          common &= ties[j] & ~bit(j);
        }
      }
      for (const j of members(column)) joined[j] |= column;
      columns.push(column);
    }
    if (!columns.some((column) => column & bit(i))) columns.push(bit(i));
  });
  return columns;
}

/** Take methods out of groups, last first, whose ties other groups show as well. */
function sweep(groups, count) {
  const shared = new Uint32Array(count * count);
  const add = (i, j, step) => { shared[i * count + j] += step; };
  for (const group of groups) for (const i of group) for (const j of group) add(i, j, 1);
  return [...groups].sort(byMembers).reverse().map((all) => {
    let group = all;
    for (const i of [...all].reverse()) {
      if (group.every((j) => shared[i * count + j] > 1)) {
        for (const j of group) {
          add(i, j, -1);
          if (j !== i) add(j, i, -1);
        }
        group = group.filter((j) => j !== i);
      }
    }
    return group;
  }).filter((group) => group.length);
}

/** Whether two strings of letters share one; "a1" is a letter of its own. */
function sharesLetter(left, right) {
  const own = left.match(/[a-z]\d*/g) || [];
  return (right.match(/[a-z]\d*/g) || []).some((mark) => own.includes(mark));
}

function letter(count) {
  const name = String.fromCharCode(97 + (count % 26));
  return count < 26 ? name : `${name}${Math.floor(count / 26)}`;
}

// ---------------------------------------------------------------- words and elements

function text(value, digits, sign = false) {
  if (value === Infinity) return "∞";
  if (!Number.isFinite(value)) return "–";
  const rounded = Number(value.toFixed(digits)) + 0;
  return `${sign && rounded > 0 ? "+" : ""}${rounded.toFixed(digits)}`.replace("-", "−");
}

function make(tag, content, attributes = {}) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  for (const part of [content].flat()) if (part !== null && part !== undefined) element.append(part);
  return element;
}

function draw(tag, attributes, content = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (content !== "") element.append(content);
  return element;
}

function fill(select, options, value) {
  select.replaceChildren(...options.map(([key, label]) => make("option", label, { value: key })));
  select.value = value;
}

/** A score, its interval, and the effective number of AOIs behind it. */
function labelled(score, digits) {
  const parts = [text(score.value, digits)];
  const known = Number.isFinite(score.high - score.low);
  if (known) parts.push(make("span", `[${text(score.low, digits)}, ${text(score.high, digits)}]`, { class: "pm" }));
  if (Number.isFinite(score.effective)) {
    const meaning = `${text(score.effective, 1)} ${clusters()} of equal error would determine the score as ${score.aois} do.`;
    parts.push(make("span", `${text(score.effective, 1)} of ${score.aois} ${clusters()}`, { class: "pm effective", title: meaning }));
  }
  return parts;
}

// ---------------------------------------------------------------- the page

const board = () => DATA.boards[Number(state.board)];
const clusters = (count = 2) => `${board().cluster}${count === 1 ? "" : "s"}`; // over which intervals are
const alone = () => board().cluster === "scene"; // nobody knows which scenes are of one place
const selection = () => ({ land_cover: state.land_cover, cover_bin: state.cover_bin, region: state.region });

function shown() {
  return board().entries.filter((entry) =>
    (!state.verified || entry.status === "verified")
      && (state.inputs === "all"
        || (state.inputs === "sar") === entry.inputs.includes("sar") && entry.inputs.length > 0));
}

function columns() {
  return Object.keys(METRICS).filter((metric) => !METRICS[metric].segmented || state.segmenter);
}

const scoresSeen = new Map();

/** Scores of the input, if they are known, and of every shown entry in every column, for the selection. */
function scored() {
  return cached(scoresSeen, [board().id, selection(), state.inputs, state.verified, state.segmenter], score);
}

function score() {
  const each = (name) => Object.fromEntries(columns().map((metric) => {
    const key = METRICS[metric].segmented && name === "input" ? "cloudy" : name;
    return [metric, estimate(sumsOf(board(), key, metric, selection()))];
  }));
  const rows = shown().map((entry) => ({ entry, scores: each(entry.name) }));
  return { rows, input: board().cells.sums.input ? each("input") : null };
}

/** The row whose rank each row takes: of the same predictions a verified one's, else the worst one's. */
function standIns(rows) {
  const { up } = METRICS[state.sort];
  const badness = (row) => (up ? -1 : 1) * row.scores[state.sort].value;
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
function sorted(rows, way) {
  if (state.sort === "method") {
    return [...rows].sort((left, right) => way * left.entry.method.localeCompare(right.entry.method, "en"));
  }
  const better = METRICS[state.sort].up ? -1 : 1;
  const standIn = standIns(rows);
  const key = (row) => standIn.get(row).scores[state.sort].value;
  return [...rows].sort((row, other) => {
    const [left, right] = [key(row), key(other)];
    if (Number.isNaN(left) || Number.isNaN(right)) return Number.isNaN(left) - Number.isNaN(right);
    if (left !== right) return way * better * (left - right);
    const [first, second] = [standIn.get(row), standIn.get(other)];
    if (first !== second) return byName(first, second);
    return (other === second ? 1 : 0) - (row === first ? 1 : 0);
  });
}

function ranked(rows) {
  const all = sorted(rows, state.down === "1" ? 1 : -1);
  return [...all.filter((row) => row.entry.complete), ...all.filter((row) => !row.entry.complete)];
}

function rankings(rows) {
  showDetectable(null);
  if (state.sort === "method") return new Map();
  const standIn = standIns(rows);
  const whole = sorted(rows, 1).filter((row) => row.entry.complete && !Number.isNaN(row.scores[state.sort].value));
  const order = [...new Set(whole.map((row) => standIn.get(row)))];
  const comparison = board().comparable ? compared(whole.map((row) => row.scores[state.sort])) : null;
  showDetectable(comparison);
  return new Map(whole.map((row, index) => [row.entry.name, {
    rank: order.indexOf(standIn.get(row)) + 1, letters: comparison ? comparison.letters[index] : "",
    best: Boolean(comparison) && sharesLetter(comparison.letters[index], comparison.letters[0]),
  }]));
}

/** The detectable difference of the sorted score, of one pair alone and corrected for all. */
function showDetectable(comparison) {
  const known = comparison && Number.isFinite(comparison.alone);
  const { label, unit, digits } = METRICS[state.sort] || {};
  const size = (gap) => `${text(gap, digits)}${unit ? ` ${unit === "%" ? "points" : unit}` : ""}`;
  at("detectable").textContent = known ? `Detectable difference in ${label}: of most pairs, gaps below ${size(comparison.alone)} `
    + `are not significant${comparison.pairs.length > 1 ? `, below ${size(comparison.corrected)} with all ${comparison.pairs.length} pairs corrected (Holm)` : ""}.` : "";
}

function heading(key, label) {
  const active = state.sort === key;
  const button = make("button", `${label}${active ? (state.down === "1" ? " ▾" : " ▴") : ""}`, { type: "button" });
  button.addEventListener("click", () => change({ sort: key, down: active && state.down === "1" ? "0" : "1" }));
  const order = active ? (state.down === "1" ? "descending" : "ascending") : "none";
  const direction = key !== "method" && METRICS[key].up ? order
    : { descending: "ascending", ascending: "descending", none: "none" }[order];
  return make("th", button, { scope: "col", "aria-sort": direction, "data-key": key });
}

function showTable(rows, input) {
  const places = rankings(rows);
  const head = [make("th", "Rank", { scope: "col" }), heading("method", "Method"),
    ...columns().map((metric) => heading(metric, titled(metric))),
    ...["Inputs", "Scenes", ...(alone() ? [] : [clusters()])].map((title) => make("th", title, { scope: "col" }))];
  const body = ranked(rows).map((row) => tableRow(row, places.get(row.entry.name)));
  if (input) {
    body.push(make("tr", [make("td", ""), make("th", INPUT, { scope: "row", class: "text" }),
      ...columns().map((metric) => make("td", labelled(input[metric], METRICS[metric].digits))),
      make("td", ""), ...countCells(behindBoard())], { class: "unranked", "data-name": "input" }));
  }
  at("table").replaceChildren(
    make("caption", captionOf(), { class: "note" }), make("thead", make("tr", head)), make("tbody", body));
}

function isOfficial() {
  return board().protocol === "official";
}

function countCells({ scenes, aois }, words = "") {
  const cells = [make("td", `${scenes}${words}`, { "data-count": "scenes" })];
  return alone() ? cells : [...cells, make("td", String(aois), { "data-count": "aois" })];
}

function titled(metric) {
  const { label, unit, up } = METRICS[metric];
  return `${label} ${up ? "↑" : "↓"}${unit ? ` [${unit}]` : ""}`;
}

function trackOf({ track, simulated }) {
  return simulated ? `${track} (simulated)` : track;
}

function captionOf() {
  const parts = AXES.filter((axis) => state[axis] !== "all").map((axis) => named(axis, state[axis]));
  return `${trackOf(board())}, protocol ${board().protocol}: ${parts.length ? parts.join(", ") : "all pixels"}${board().entries.length ? `; ${countsOf(behindBoard())}` : ""}`;
}

function countsOf({ scenes, aois }) {
  return `${scenes} ${scenes === 1 ? "scene" : "scenes"}${alone() ? "" : ` of ${aois} ${clusters(aois)}`}`;
}

function named(axis, value) {
  return { land_cover: value, cover_bin: `cloud cover ${value.replace("-", "–")} %`, region: `${value} pixels` }[axis];
}

function tableRow({ entry, scores }, ranking) {
  const name = make("button", entry.method, { type: "button", class: "name" });
  name.addEventListener("click", () => { change({ entry: entry.name }); at("entry-title").scrollIntoView(); });
  const cells = columns().map((metric) => {
    const content = labelled(scores[metric], METRICS[metric].digits);
    if (ranking && metric === state.sort) content.splice(1, 0, make("span", ranking.letters, { class: "letters" }));
    const best = ranking && metric === state.sort && ranking.best;
    return make("td", content, { "data-metric": metric, ...(best ? { class: "best" } : {}) });
  });
  return make("tr", [
    make("td", ranking ? String(ranking.rank) : "–"), make("th", [name, ...badges(entry)], { scope: "row", class: "text" }), ...cells,
    make("td", entry.inputs.length ? inputsOf(entry) : "not stated"),
    ...countCells(behind(entry.name), entry.complete ? "" : ` (${entry.coverage} in all, not ranked)`),
  ], { "data-name": entry.name, ...(entry.complete ? {} : { class: "unranked" }) });
}

/** What must be known of an entry at first sight. */
function badges(entry) {
  const same = entry.same_predictions.map(methodOf).join(", ");
  return [
    [entry.status, entry.status, DATA.statuses[entry.status]],
    ...(isOfficial() ? [[`input window ${windowOf(entry.input_window)}`, "crop", DATA.windows[entry.input_window]]] : []),
    ...(entry.training ? [[entry.training, "warned", "How it was trained, as its card says"]] : []),
    ...(same ? [[`same predictions as ${same}: one rank`, "same", "Equal pixel by pixel"]] : []),
  ].flatMap(([words, style, title]) => [" ", make("span", words, { class: `badge ${style}`, title })]);
}

// A method, with its input window where the official figures of several windows stand side by side.
function markedMethod(entry) {
  const windows = new Set(board().entries.map((entry) => entry.input_window));
  return isOfficial() && windows.size > 1 ? `${entry.method} (input ${windowOf(entry.input_window)})` : entry.method;
}

function windowOf(crop) {
  return crop === "160" ? "160 × 160" : crop;
}

function inputsOf(entry) {
  return entry.inputs.includes("sar") ? "with SAR" : "optical";
}

// ---------------------------------------------------------------- charts

function curves(metric, value) {
  const order = ranked(scored().rows).filter((row) => row.entry.complete).map((row) => row.entry.name);
  const names = order.map((name, index) => [name, index < COLOURS ? `k${index}` : "other"]);
  if (board().cells.sums.input) names.push(["input", "input"]);
  return names.map(([name, style]) => ({
    name, style, values: DATA.axes.cover_bin.map((bin) => value(name, { ...selection(), cover_bin: bin })),
  }));
}

function scoreIn(name, metric, chosen) {
  const key = METRICS[metric].segmented && name === "input" ? "cloudy" : name;
  return leaveTotal(sumsOf(board(), key, metric, chosen));
}

function leaveTotal(sums) {
  return sums && sums.parts.length ? sums.score(total(sums.parts)) : NaN;
}

function showCharts() {
  const metric = METRICS[state.sort] && !METRICS[state.sort].segmented ? state.sort : "psnr";
  const lines = board().entries.length ? curves(metric, (name, chosen) => scoreIn(name, metric, chosen)) : [];
  chart(at("fig5"), lines, `${titled(metric)} per cloud-cover bin, as Fig. 5 of the paper`, METRICS[metric].digits);
  const gap = (name, chosen) => scoreIn("clear", "miou", chosen) - scoreIn(name, "miou", chosen);
  const segmented = state.segmenter && state.region === "all" ? curves("miou", gap) : [];
  at("fig6").hidden = !state.segmenter;
  chart(at("fig6"), segmented, state.region === "all"
    ? "mIoU points below the cloud-free image, as Fig. 6 of the paper; lower is better"
    : "Segmentation is not split by region", 1);
  showLegend(lines);
}

function showLegend(lines) {
  at("legend").replaceChildren(...lines.filter((line) => line.style !== "other").map((line) => {
    const key = draw("svg", { viewBox: "0 0 32 14", "aria-hidden": "true" });
    key.append(draw("line", { x1: 0, x2: 32, y1: 7, y2: 7, class: `curve ${line.style}` }), marker(16, 7, line.style));
    return make("li", [key, methodOf(line.name)]);
  }));
  const rest = lines.filter((line) => line.style === "other").length;
  if (rest) at("legend").append(make("li", `${rest} others, grey`));
}

function methodOf(name) {
  const entry = board().entries.find((candidate) => candidate.name === name);
  return entry ? markedMethod(entry) : INPUT;
}

function marker(x, y, style) {
  const shape = Number(style.slice(1)) % 4 || 0;
  const paths = ["M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", "M-4 -4h8v8h-8z", "M0 -5l5 9h-10z", "M0 -5l5 5l-5 5l-5 -5z"];
  return draw("path", { d: paths[shape], transform: `translate(${x} ${y})`, class: `point ${style}` });
}

function chart(figure, lines, caption, digits) {
  const values = lines.flatMap((line) => line.values).filter(Number.isFinite);
  if (!values.length) {
    figure.replaceChildren(make("figcaption", `${caption}: nothing was measured`));
    return;
  }
  const [width, height, left, bottom, top] = [520, 300, 52, 34, 10];
  const ticks = ticksOf(Math.min(...values), Math.max(...values));
  const [low, high] = [ticks[0], ticks[ticks.length - 1]];
  const x = (bin) => left + ((bin + 0.5) * (width - left - 8)) / DATA.axes.cover_bin.length;
  const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - bottom - top);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": caption });
  for (const tick of ticks) {
    svg.append(draw("line", { x1: left, x2: width - 8, y1: y(tick), y2: y(tick), class: "grid" }),
      draw("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tickText(tick, ticks)));
  }
  DATA.axes.cover_bin.forEach((bin, index) => svg.append(
    draw("text", { x: x(index), y: height - 18, "text-anchor": "middle" }, bin.replace("-", "–"))));
  svg.append(draw("text", { x: (width + left) / 2, y: height - 3, "text-anchor": "middle" }, "cloud cover of the patch [%]"));
  for (const line of [...lines].reverse()) svg.append(...curve(line, x, y, digits));
  figure.replaceChildren(svg, make("figcaption", caption));
}

function curve(line, x, y, digits) {
  const points = line.values.map((value, bin) => [x(bin), y(value), value]).filter((point) => Number.isFinite(point[2]));
  const path = draw("path", { d: points.map(([px, py], i) => `${i ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join(""),
    class: `curve ${line.style}`, "data-name": line.name });
  const spoken = line.values.map((value, bin) => `${DATA.axes.cover_bin[bin]} %: ${text(value, digits)}`).join(", ");
  path.append(draw("title", {}, `${methodOf(line.name)}: ${spoken}`));
  return [path, ...(line.style === "other" ? [] : points.map(([px, py]) => marker(px, py, line.style)))];
}

function ticksOf(low, high) {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / 4));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => span / size <= 6);
  const first = Math.floor(low / step);
  const last = Math.max(Math.ceil(high / step), first + 1);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

function tickText(tick, ticks) {
  const step = ticks[1] - ticks[0];
  return text(tick, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
}

// ---------------------------------------------------------------- pairs, cards, published figures

function showPair(rows) {
  const first = rows.find((row) => row.entry.name === state.a);
  const second = rows.find((row) => row.entry.name === state.b);
  if (!first || !second) {
    at("pair").replaceChildren(make("tbody", make("tr", make("td", "Two methods are needed."))));
    return;
  }
  const head = ["Score", markedMethod(first.entry), markedMethod(second.entry), "Difference, 95 % interval", "p", "Better"];
  const partial = !first.entry.complete || !second.entry.complete;
  const body = columns().map((metric) => {
    const [left, right] = [first.scores[metric], second.scores[metric]];
    const { digits, up } = METRICS[metric];
    const difference = partial || !board().comparable ? { value: NaN, error: NaN, freedom: NaN, p: NaN } : paired(left, right);
    const { value, p } = difference;
    const half = halfOf(difference);
    const firstIsBetter = (value > 0) === up;
    const verdict = Number.isNaN(p) ? "–" : p >= LEVEL ? "not significant" : markedMethod((firstIsBetter ? first : second).entry);
    return make("tr", [make("th", titled(metric), { scope: "row" }), make("td", text(left.value, digits)),
      make("td", text(right.value, digits)),
      make("td", `${text(value, digits, true)}${Number.isFinite(half) ? ` ± ${text(half, digits)}` : ""}`),
      make("td", Number.isNaN(p) ? "–" : p < 0.001 ? "< 0.001" : text(p, 3)), make("td", verdict)], { "data-metric": metric });
  });
  at("pair").replaceChildren(
    make("caption", partial ? "An incomplete entry covers other scenes: no difference is taken."
      : !board().comparable ? `Entries cover other ${clusters()}: no difference is taken.` : `${captionOf()}; p of this one comparison`, { class: "note" }),
    make("thead", make("tr", head.map((title) => make("th", title, { scope: "col" })))), make("tbody", body));
}

const CARD = { authors: "Authors", year: "Year", paper: "Paper", code: "Code", licence: "Licence", inputs: "Inputs",
  training_data: "Training data", extra_data: "Beyond the training split", parameters: "Parameters",
  macs: "Multiply–adds per patch", hardware: "Hardware", training: "Training", notes: "Notes" };

function showCard() {
  const entry = board().entries.find(({ name }) => name === state.entry);
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
  if (entry.samples) {
    parts.push(make("figure", [make("img", "", { src: entry.samples, alt: `Sample scenes of ${entry.method}` }),
      make("figcaption", "Sample scenes: cloudy, prediction, cloud-free.")]));
  }
  if (entry.card && entry.card.bibtex) parts.push(make("pre", entry.card.bibtex));
  at("card").replaceChildren(...parts);
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
    const [value, [low, high], letters] = further[metric];
    const [score, ...interval] = labelled({ value: fromJson(value), low: fromJson(low), high: fromJson(high) }, DATA.further[metric].digits);
    return [score, make("span", letters, { class: "letters" }), ...interval];
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

// ---------------------------------------------------------------- state and address

function showFilters() {
  const words = { land_cover: "all classes", cover_bin: "all", region: "all" };
  for (const axis of AXES) {
    const options = DATA.axes[axis].map((value) => [value, axis === "cover_bin" ? `${value.replace("-", "–")} %` : value]);
    fill(at(axis), [["all", words[axis]], ...options], state[axis]);
    at(axis).parentElement.hidden = !board().known[axis];
  }
  at("region").disabled = !board().cells.additive && state.land_cover !== "all";
  fill(at("segmenter"), Object.entries(board().segmenters).map(([key, segmenter]) => [key, segmenter.name]), state.segmenter);
  at("segmenter").disabled = !state.segmenter;
  const methods = board().entries.map((entry) => [entry.name, markedMethod(entry)]);
  for (const id of ["a", "b", "entry"]) fill(at(id), methods, state[id]);
  at("board").value = state.board;
  at("inputs").value = state.inputs;
  at("verified").checked = state.verified === "1";
}

/** Keep the state possible: names that the board has, and no split that it cannot make. */
function settle() {
  if (!DATA.boards[Number(state.board)]) state.board = START.board;
  for (const axis of AXES) if (!board().known[axis] || !DATA.axes[axis].includes(state[axis])) state[axis] = "all";
  if (!board().cells.additive && state.land_cover !== "all") state.region = "all";
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
  if (!board().known.cover_bin) at("charts-title").parentElement.hidden = true;
  const { rows, input } = scored();
  showTable(rows, input);
  showAbout();
  showNotes(rows);
  showFurther(rows);
  showCharts();
  showPair(rows);
  showCard();
  showPublished();
  at("status").textContent = `${rows.length} of ${board().entries.length} entries. ${captionOf()}.`;
}

function showAbout() {
  if (!board().entries.length) {
    at("about").textContent = "No measured entry yet.";
    return;
  }
  const everything = { land_cover: "all", cover_bin: "all", region: "all" };
  const chosen = AXES.some((axis) => state[axis] !== "all");
  const { aois } = behindBoard(everything);
  const whole = { scenes: board().scenes, aois };
  const size = chosen ? `Chosen: ${countsOf(behindBoard())}, out of ${countsOf(whole)}.` : `${countsOf(whole)}.`;
  at("about").replaceChildren(
    ...(board().simulated ? [make("span", "simulated", { class: "badge warned" }), " These scenes were simulated. "] : []),
    ...(DATA.verified_only ? ["Verified entries only. "] : []), `${[size, ...board().missing].join(" ")} Signature: ${board().signature}`);
}

function showNotes(rows) {
  const entries = rows.map((row) => row.entry);
  const partial = entries.filter((entry) => !entry.complete).length;
  const statuses = [...new Set(entries.map((entry) => entry.status))].sort();
  const windows = new Set(entries.map((entry) => entry.input_window));
  at("notes").replaceChildren(...[
    `${countsOf(behindBoard())}; [low, high] is the 95 % interval over ${clusters()}, and below it the effective number of ${clusters()} behind the score; `
      + "methods that share a letter are not significantly different.",
    partial ? `${partial} incomplete: not ranked.` : "",
    board().remark,
    isOfficial() ? "Input window: what the network was shown of a patch; official figures depend on it." : "",
    isOfficial() && windows.size > 1 ? "This table has rows of different input windows; compare only rows of the same one." : "",
    ...statuses.map((status) => `${status[0].toUpperCase()}${status.slice(1)}: ${DATA.statuses[status]}`),
  ].filter(Boolean).map((words) => make("span", `${words} `)));
}

function change(wanted) {
  Object.assign(state, wanted);
  show();
  const address = new URLSearchParams(Object.entries(state).filter(([key, value]) => value !== START[key] && key !== "board"));
  address.set("board", board().id);
  history.replaceState(null, "", `#${address}`);
}

function readAddress() {
  const address = new URLSearchParams(location.hash.slice(1));
  Object.assign(state, START);
  for (const [key, value] of address) if (key in START && key !== "board") state[key] = value;
  const index = DATA.boards.findIndex(({ id }) => id === address.get("board"));
  state.board = String(Math.max(index, 0));
}

for (const id of ["board", ...AXES, "inputs", "segmenter", "a", "b", "entry"]) {
  at(id).addEventListener("change", (event) => change({ [id]: event.target.value }));
}
at("verified").addEventListener("change", (event) => change({ verified: event.target.checked ? "1" : "" }));
at("filters").addEventListener("submit", (event) => event.preventDefault());
at("reset").addEventListener("click", () => change({ land_cover: "all", cover_bin: "all", region: "all", inputs: "all", verified: "" }));
window.addEventListener("hashchange", () => { readAddress(); show(); });
fill(at("board"), DATA.boards.map((choice, index) => [String(index), `${choice.track}, ${choice.protocol}${choice.simulated ? " (simulated)" : ""}`]), "0");
at("bibtex").textContent = DATA.bibtex;
at("main").hidden = false;
readAddress();
show();
