"use strict";
// Reads the sums per area of interest, and makes the ratios of them that a selection of filters has.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SCALES = { linear: (ratio) => ratio, sqrt: Math.sqrt, log: (ratio) => -10 * Math.log10(ratio) };
const METRICS = Object.fromEntries(DATA.metrics.map(({ name, possible: [low, high], ...metric }) =>
  [name, { ...metric, up: metric.better === "higher", possible: [low ?? -Infinity, high ?? Infinity] }]));
const HEADLINE = Object.keys(METRICS).filter((metric) => !METRICS[metric].segmented);
const LEVEL = 0.05;
const AXES = ["land_cover", "cover_bin", "region"];
const EVERYTHING = { land_cover: "all", cover_bin: "all", region: "all" };
const decoded = new Map();
let packed = new Uint8Array();

/** Unpack the arrays; nothing can be computed before. */
async function unpack() {
  const letters = atob(DATA.arrays.text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i += 1) bytes[i] = letters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  packed = new Uint8Array(await new Response(stream).arrayBuffer());
}

/** What a function returned for the same words before. */
function cached(cache, words, work) {
  const key = JSON.stringify(words);
  if (!cache.has(key)) cache.set(key, work());
  return cache.get(key);
}

const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array };

/** An array by its key; Python's leaderboard/arrays.py describes how it lies in the bytes. */
function numbers(key) {
  return cached(decoded, key, () => {
    const [start, length, type, low, share, like] = DATA.arrays.facts[key];
    const width = Number(type[1]);
    const bytes = new Uint8Array(width * length);
    for (let place = 0; place < width; place += 1) {
      for (let i = 0; i < length; i += 1) bytes[i * width + place] = packed[start + place * length + i];
    }
    const values = new TYPES[type](bytes.buffer);
    if (low === undefined) return values;
    const of = like && numbers(like);
    return Float64Array.from(values, (value, i) => value + low + (of ? Math.floor(of[i] * share + 0.5) : 0));
  });
}

const cellsChosen = new Map();

/** Cells of a board that a selection adds, each with the position of its AOI. */
function chosenCells(board, selection) {
  return cached(cellsChosen, [board.id, selection], () => {
    const every = DATA.axes;
    return cellsOf(board.cells.index, 4, AXES.map((axis) =>
      position(axis, selection, board.cells.additive ? -1 : every[axis].length)));
  });
}

/** Where a chosen value lies on its axis, or what stands for all. */
function position(axis, selection, all) {
  const index = DATA.axes[axis].indexOf(selection[axis]);
  return index < 0 ? all : index;
}

/** Cells of an index of `columns` rows with the wanted position in each but the first; -1 takes any. */
function cellsOf(key, columns, wanted) {
  const index = numbers(key);
  const count = index.length / columns;
  const cells = [];
  for (let i = 0; i < count; i += 1) {
    if (wanted.every((place, axis) => place < 0 || index[(axis + 1) * count + i] === place)) cells.push([i, index[i]]);
  }
  return cells;
}

/** Sums per AOI of one metric of one entry: what a ratio is made of, above and below. Null if there are none. */
function ratioSums(board, name, metric, selection) {
  if (!board.cells.sums[name]) return null;
  const tops = numbers(board.cells.sums[name][`top_${metric}`]);
  const bottoms = numbers(board.cells.sums[name][`bottom_${metric}`]);
  const parts = board.cells.aois.map(() => [0, 0]);
  for (const [cell, aoi] of chosenCells(board, selection)) {
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

/** What a segmenter finds per AOI: of each class its pixels, those of them found, and all that are taken for it. */
function segmenterSums(board, name, metric, selection) {
  const segmenter = board.segmenters[state.segmenter];
  const keys = segmenter && segmenter.predicted[name];
  if (!keys || selection.region !== "all") return null;
  const classes = DATA.axes.land_cover.length - 1;
  const columns = ["truth", "hits", "seen"].map((what) => numbers(keys[what]));
  const index = numbers(segmenter.index);
  const parts = board.cells.aois.map(() => new Array(3 * classes).fill(0));
  for (const [cell, aoi] of cellsOf(segmenter.index, 3, [-1, position("cover_bin", selection, -1)])) {
    const place = index[index.length / 3 + cell];
    columns.forEach((column, what) => { parts[aoi][what * classes + place] += column[cell]; });
  }
  return segmented(parts, metric, position("land_cover", selection, -1));
}

/** A score of all classes or of only one, with sizes and errors as `ratios`. */
function segmented(parts, metric, only) {
  const classes = parts.length ? parts[0].length / 3 : 0;
  const chosen = Array.from({ length: classes }, (_, index) => index).filter((index) => only < 0 || index === only);
  const sum = (values) => values.reduce((partial, value) => partial + value, 0);
  const [truth, hits, seen] = [0, 1, 2].map((what) => (part, index) => part[what * classes + index]);
  const joined = (part, index) => truth(part, index) + seen(part, index) - hits(part, index);
  const score = (part) => {
    if (metric === "pa") return 100 * sum(chosen.map((index) => hits(part, index))) / sum(chosen.map((index) => truth(part, index)));
    const present = chosen.filter((index) => truth(part, index) > 0);
    return 100 * sum(present.map((index) => hits(part, index) / joined(part, index))) / present.length;
  };
  const size = (part) => sum(chosen.map((index) => (metric === "miou" && only >= 0 ? joined : truth)(part, index)));
  return { parts, score, size, errors: (part) => size(part) - sum(chosen.map((index) => hits(part, index))), metric };
}

function sumsOf(board, name, metric, selection) {
  return (METRICS[metric].segmented ? segmenterSums : ratioSums)(board, name, metric, selection);
}

const countsSeen = new Map();

/** How many scenes and AOIs of an entry a selection has. */
function behind(name, chosen = selection()) {
  return cached(countsSeen, [board().id, name, chosen], () => {
    const scenes = numbers(board().counts.scenes[name]);
    const wanted = AXES.map((axis) => position(axis, chosen, axis === "cover_bin" ? -1 : DATA.axes[axis].length));
    const perAoi = new Map();
    for (const [cell, aoi] of cellsOf(board().counts.index, 4, wanted)) {
      if (scenes[cell] > 0) perAoi.set(aoi, (perAoi.get(aoi) || 0) + scenes[cell]);
    }
    return { scenes: [...perAoi.values()].reduce((sum, count) => sum + count, 0), aois: perAoi.size };
  });
}

/** The most scenes that any entry of the board has of a selection, as far as we know all there are. */
function behindBoard(chosen = selection()) {
  return board().entries.map((entry) => behind(entry.name, chosen))
    .reduce((most, counts) => (counts.scenes > most.scenes ? counts : most), { scenes: 0, aois: 0 });
}
