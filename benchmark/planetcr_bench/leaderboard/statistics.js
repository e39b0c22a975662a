"use strict";
// The same engine as in Python's analysis/intervals.py and significance.py, which explains it; tests hold the two together.

function total(parts) {
  return parts[0].map((_, column) => parts.reduce((sum, part) => sum + part[column], 0));
}

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
  const cell = (i, j) => off[i] * off[j] * ((i === j ? 1 : 0) - shares[i] - shares[j] + squares);
  const means = shares.map((_, i) => shares.reduce((partial, _share, j) => partial + cell(i, j), 0) / shares.length);
  const mean = means.reduce((partial, value) => partial + value, 0) / means.length;
  let trace = 0;
  let norm = 0;
  for (let i = 0; i < shares.length; i += 1) {
    for (let j = 0; j < shares.length; j += 1) {
      const centred = cell(i, j) - means[i] - means[j] + mean;
      if (i === j) trace += centred;
      norm += centred ** 2;
    }
  }
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
  const chances = holm(pairs.map((pair) => (Number.isNaN(pair.p) ? 1 : pair.p)));
  const different = places.filter((_, k) => chances[k] < LEVEL);
  return { pairs, places, chances, different, letters: lettersOf(ranked.length, different),
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
