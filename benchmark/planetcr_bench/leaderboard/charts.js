"use strict";
// Draws scores over the cloud cover as lines with bands, whose values the pointer and the keyboard reach.

const COLOURS = 8;
const FAR_OFF = 2.5; // spans of the coloured lines that all together may take
const slots = new Map(); // a method keeps its colour as long as it has one

/** Styles of methods in their order: the first eight have colours, the rest are grey. */
function stylesOf(names) {
  const first = names.slice(0, COLOURS);
  for (const name of [...slots.keys()]) if (!first.includes(name)) slots.delete(name);
  for (const name of first) {
    const taken = new Set(slots.values());
    if (!slots.has(name)) slots.set(name, Array.from({ length: COLOURS }, (_, slot) => slot).find((slot) => !taken.has(slot)));
  }
  return new Map(names.map((name) => [name, slots.has(name) ? `k${slots.get(name)}` : "other"]));
}

/** Lines of the complete methods and of the input: a score per bin, by a function of name and selection. */
function linesOf(rows, value) {
  const order = ranked(rows).filter((row) => row.entry.complete).map((row) => row.entry.name);
  const styles = stylesOf(order);
  if (board().cells.sums.input) styles.set("input", "input");
  return [...styles].map(([name, style]) => ({ name, style,
    values: DATA.axes.cover_bin.map((bin) => value(name, { ...selection(), cover_bin: bin })) }));
}

function showCharts(rows) {
  if (!board().known.cover_bin || !board().entries.length) return;
  const metric = METRICS[state.sort] && !METRICS[state.sort].segmented ? state.sort : "psnr";
  const only = board().cells.additive ? (chosen) => chosen : ({ cover_bin }) => ({ ...EVERYTHING, cover_bin });
  const lines = linesOf(rows, (name, chosen) => scoreOf(name, metric, only(chosen)));
  const part = AXES.filter((axis) => axis !== "cover_bin" && state[axis] !== "all").map((axis) => named(axis, state[axis])).join(", ");
  const of = board().cells.additive && part ? ` of ${part}` : "";
  chart(at("fig5"), lines, { caption: `${METRICS[metric].label}${of} by cloud cover, as Fig. 5 of the paper`, axis: titled(metric), digits: METRICS[metric].digits });
  at("fig6").hidden = !state.segmenter;
  const gap = (name, chosen) => {
    const [clear, own] = [scoreOf("clear", "miou", chosen), scoreOf(name, "miou", chosen)];
    const { value, error, freedom } = paired(clear, own);
    const half = student(LEVEL, freedom) * error;
    return { value, low: value - half, high: value + half };
  };
  const segmented = state.segmenter && state.region === "all" ? linesOf(rows, gap) : [];
  chart(at("fig6"), segmented, { caption: state.region === "all"
    ? "mIoU points lost against the cloud-free image, as Fig. 6 of the paper" : "Segmentation is not split by region",
  axis: "mIoU lost ↓ [points]", digits: 1 });
  showLegend(lines);
}

function showLegend(lines) {
  at("legend").replaceChildren(...lines.filter((line) => line.style !== "other").map((line) => {
    const key = draw("svg", { viewBox: "0 0 32 14", "aria-hidden": "true" },
      [draw("line", { x1: 0, x2: 32, y1: 7, y2: 7, class: `curve ${line.style}` }), marker(16, 7, line.style)]);
    return make("li", [key, methodOf(line.name)]);
  }));
  const rest = lines.filter((line) => line.style === "other").length;
  if (rest) at("legend").append(make("li", `${counted(rest, "other")}, grey`));
}

function marker(x, y, style) {
  const shape = Number(style.slice(1)) % 4 || 0;
  const paths = ["M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", "M-4 -4h8v8h-8z", "M0 -5l5 9h-10z", "M0 -5l5 5l-5 5l-5 -5z"];
  return draw("path", { d: paths[shape], transform: `translate(${x} ${y})`, class: `point ${style}` });
}

function chart(figure, lines, { caption, axis, digits }) {
  const own = lines.filter(({ style }) => style[0] === "k");
  const [every, coloured] = [lines, own].map(endsOf);
  const isFar = own.length > 1 && every[1] - every[0] > FAR_OFF * (coloured[1] - coloured[0]);
  const [least, most] = isFar ? coloured : every;
  if (!Number.isFinite(least)) {
    figure.replaceChildren(make("figcaption", `${caption}${lines.length ? ": nothing was measured" : ""}`));
    return;
  }
  const bins = DATA.axes.cover_bin;
  const width = Math.max(figure.clientWidth || 560, 280);
  const [height, left, right, top, bottom] = [Math.round(Math.min(380, 0.55 * width + 60)), 58, 10, 26, 44];
  const ticks = ticksOf(least, most);
  const [low, high] = [ticks[0], ticks[ticks.length - 1]];
  const step = (width - left - right) / bins.length;
  const x = (bin) => left + (bin + 0.5) * step;
  const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - bottom - top);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": caption });
  for (const tick of ticks) {
    svg.append(draw("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "grid" }),
      draw("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, tickText(tick, ticks)));
  }
  bins.forEach((bin, index) => svg.append(draw("text", { x: x(index), y: height - bottom + 18, "text-anchor": "middle" }, binOf(bin))));
  svg.append(draw("text", { x: left + (width - left - right) / 2, y: height - 6, "text-anchor": "middle", class: "axis" }, "Cloud cover of the patch [%]"),
    draw("text", { x: 0, y: 14, class: "axis" }, axis));
  const plot = { x: 0, y: top - 6, width, height: height - top - bottom + 12 }; // cuts off what lies outside
  svg.append(draw("svg", { ...plot, viewBox: Object.values(plot).join(" ") }, [...lines].reverse().flatMap((line) => curve(line, x, y, digits))));
  const tip = make("div", "", { class: "tip", hidden: "" });
  bins.forEach((bin, index) => svg.append(target(lines, index, { x: x(index) - step / 2, y: top, width: step, height: height - top - bottom }, tip, digits)));
  figure.replaceChildren(svg, tip, make("figcaption", `${caption}${isFar ? "; lines in grey may lie outside" : ""}`));
}

/** The least and the largest value of lines, with the bands of those that have one. */
function endsOf(lines) {
  const values = lines.flatMap((line) => line.values.flatMap(({ value, low, high }) =>
    (line.style === "other" ? [value] : [value, low, high]))).filter(Number.isFinite);
  return [Math.min(...values), Math.max(...values)];
}

/** A line, its band and its marks. */
function curve(line, x, y, digits) {
  const points = line.values.map((score, bin) => ({ ...score, x: x(bin) })).filter(({ value }) => Number.isFinite(value));
  const path = (places) => places.map(([px, py], i) => `${i ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join("");
  const known = points.filter(({ low, high }) => Number.isFinite(high - low));
  const band = [...known.map((point) => [point.x, y(point.high)]), ...[...known].reverse().map((point) => [point.x, y(point.low)])];
  const spoken = line.values.map(({ value }, bin) => `${DATA.axes.cover_bin[bin]} %: ${text(value, digits)}`).join(", ");
  const stroke = draw("path", { d: path(points.map((point) => [point.x, y(point.value)])), class: `curve ${line.style}`, "data-name": line.name },
    draw("title", {}, `${methodOf(line.name)}: ${spoken}`));
  if (line.style === "other") return [stroke];
  return [draw("path", { d: path(band) && `${path(band)}z`, class: `band ${line.style}` }), stroke, ...points.map((point) => marker(point.x, y(point.value), line.style))];
}

/** What shows the values of one bin, to the pointer and to the keyboard. */
function target(lines, index, box, tip, digits) {
  const own = lines.filter((line) => line.style !== "other" && Number.isFinite(line.values[index].value))
    .sort((left, right) => right.values[index].value - left.values[index].value);
  const said = own.map((line) => `${methodOf(line.name)} ${text(line.values[index].value, digits)} ${range(line.values[index], digits)}`);
  const bin = `${binOf(DATA.axes.cover_bin[index])} %`;
  const rect = draw("rect", { ...box, class: "target", tabindex: "0", role: "img", "aria-label": `Cloud cover ${bin}: ${said.join("; ")}` });
  const reveal = () => {
    tip.replaceChildren(make("b", `Cloud cover ${bin}`), make("table", make("tbody", own.map((line) => make("tr", [
      make("td", make("i", "", { class: `dot ${line.style}` })), make("td", methodOf(line.name)),
      make("td", text(line.values[index].value, digits)), make("td", range(line.values[index], digits), { class: "pm" })])))));
    tip.hidden = false;
    const room = tip.parentElement.clientWidth - tip.offsetWidth;
    const wanted = box.x + box.width / 2 > tip.parentElement.clientWidth / 2 ? box.x - tip.offsetWidth : box.x + box.width;
    tip.style.left = `${Math.max(0, Math.min(wanted, room))}px`;
  };
  const conceal = () => { tip.hidden = true; };
  for (const event of ["pointerenter", "focus"]) rect.addEventListener(event, reveal);
  for (const event of ["pointerleave", "blur"]) rect.addEventListener(event, conceal);
  rect.addEventListener("keydown", (event) => { if (event.key === "Escape") conceal(); });
  return rect;
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
