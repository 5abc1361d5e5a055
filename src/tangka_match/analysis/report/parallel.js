// Parallel coordinates: one line per row of the table, one axis per setting, the result on the right.

import { report } from "./data.js";
import { drawWide, el, hideTip, showTip, svg } from "./dom.js";
import { metricText, setting } from "./format.js";
import { short } from "./axes.js";
import { ramp, rampGradient } from "./colours.js";
import { padded, numericScale, settingScale } from "./scale.js";
import { change, drawnRows, onChange, state } from "./state.js";
import { metricLabel, t } from "./words.js";

const HEIGHT = 330;
const [TOP, BOTTOM, LEFT, RIGHT] = [44, 306, 112, 70];
/** Width of a character of an axis label, in pixels. */
const CHARACTER = 7;
const RESULT = "result";
const MAX_AXES = 8;

/** Build the card. */
export function buildParallel() {
  const chart = el("div", { className: "drawing" });
  const legend = el("div", { className: "scale" });
  const redraw = drawWide(chart, draw);
  onChange(() => {
    redraw();
    legend.replaceChildren(...colourScale());
  });
  legend.replaceChildren(...colourScale());
  return el("div", { className: "card", "data-card": "parallel" }, el("h3", {}, t("parallel")), chart, legend, el("p", { className: "hint" }, t("parallelNote")));
}

/** Return the parts of the legend: the result that the colour stands for, its range and the colours between. */
function colourScale() {
  const results = resultRows().map((row) => row.metric(state.result));
  if (!results.length) return [];
  const text = (value) => metricText(state.result, value);
  const bar = el("i", { style: { background: rampGradient(isLowGood()) } });
  return [t("parallelColours", metricLabel(state.result)), text(Math.min(...results)), bar, text(Math.max(...results))].map((part) => el("span", {}, part));
}

function resultRows() {
  return drawnRows().filter((row) => row.metric(state.result) !== null);
}

function isLowGood() {
  return state.result.endsWith("_rank");
}

/** Return the settings among the selected columns that vary between these rows. */
export function varyingColumns(rows) {
  const chosen = report.columns.filter(({ key }) => state.columns.has(key));
  return chosen.filter(({ key }) => new Set(rows.map((row) => JSON.stringify(plain(row, key)))).size > 1);
}

function plain(row, key) {
  const value = row.setting(key);
  return value?.varied ? null : value;
}

function draw(width) {
  const rows = resultRows();
  const columns = varyingColumns(rows).slice(0, MAX_AXES);
  if (!rows.length || !columns.length) return el("p", { className: "hint" }, t("nothingToDraw"));
  const axesOf = columns.map(({ key, name }) => {
    const values = rows.map((row) => plain(row, key)).filter((value) => value !== null);
    return { key, name, value: (row) => plain(row, key), text: setting, scale: settingScale(values, BOTTOM, TOP) };
  });
  const results = rows.map((row) => row.metric(state.result));
  const range = [Math.min(...results), Math.max(...results)];
  axesOf.push({
    key: RESULT,
    name: metricLabel(state.result),
    value: (row) => row.metric(state.result),
    text: (value) => metricText(state.result, value),
    scale: numericScale(...padded(...range), BOTTOM, TOP),
  });
  const x = (n) => LEFT + (n / (axesOf.length - 1)) * (width - RIGHT - LEFT);
  const lines = rows.map((row) => {
    const share = (row.metric(state.result) - range[0]) / (range[1] - range[0] || 1);
    return line(row, axesOf, x, ramp(isLowGood() ? 1 - share : share));
  });
  lines.sort((a, b) => b.classList.contains("off") - a.classList.contains("off"));
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": t("parallel") },
    lines,
    axesOf.map((axis, n) => axisParts(axis, x(n), n === axesOf.length - 1, Math.floor((x(1) - x(0)) / CHARACTER))),
  );
}

function line(row, axesOf, x, colour) {
  const places = axesOf.map((axis) => {
    const value = axis.value(row);
    return value === null ? null : axis.scale.at(value);
  });
  const isWithin = axesOf.every((axis, n) => {
    const brush = state.brushes.get(axis.key);
    return !brush || (places[n] !== null && places[n] >= brush[0] && places[n] <= brush[1]);
  });
  const points = places.map((y, n) => `${x(n).toFixed(1)},${(y ?? BOTTOM + 12).toFixed(1)}`);
  const text = [row.label, ...axesOf.map((axis) => `${axis.name} ${axis.text(axis.value(row))}`)];
  return svg("polyline", {
    class: isWithin ? "run" : "run off",
    points: points.join(" "),
    stroke: colour,
    onpointermove: (event) => showTip(event, text),
    onpointerleave: hideTip,
  });
}

function axisParts({ key, name, scale, text }, x, isLast, most) {
  const brush = state.brushes.get(key);
  const side = isLast ? 8 : -8;
  const hold = svg("rect", { class: "hold", "data-axis": key, x: x - 14, y: TOP, width: 28, height: BOTTOM - TOP });
  hold.addEventListener("pointerdown", (event) => startBrush(event, hold, key));
  return [
    svg("line", { class: "spine", x1: x, x2: x, y1: TOP, y2: BOTTOM }),
    svg("text", { class: "axis", x, y: TOP - 16, "text-anchor": "middle" }, short(name, Math.min(22, most))),
    scale.ticks.map((tick) =>
      svg("text", { class: "tick halo", x: x + side, y: scale.at(tick) + 4, "text-anchor": isLast ? "start" : "end" }, short(text(tick), Math.min(14, most))),
    ),
    brush ? svg("rect", { class: "brush", x: x - 7, y: brush[0], width: 14, height: brush[1] - brush[0] }) : null,
    hold,
  ];
}

/** Select a range by dragging; a click without a drag clears it. */
function startBrush(event, hold, key) {
  const chart = hold.ownerSVGElement;
  const { top } = chart.getBoundingClientRect();
  const start = event.clientY - top;
  event.preventDefault();
  window.addEventListener(
    "pointerup",
    (end) => {
      const y = end.clientY - top;
      if (Math.abs(y - start) < 4) state.brushes.delete(key);
      else state.brushes.set(key, [Math.min(start, y), Math.max(start, y)]);
      change();
    },
    { once: true },
  );
}
