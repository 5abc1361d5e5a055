// Scatter plots: result by setting, and the Pareto front of cost and result.

import { axes } from "./axes.js";
import { report, runs } from "./data.js";
import { drawWide, el, hideTip, select, showTip, svg } from "./dom.js";
import { metricText, number } from "./format.js";
import { padded, numericScale, settingScale } from "./scale.js";
import { paretoFront } from "./statistics.js";
import { change, drawnRows, onChange, state } from "./state.js";
import { metricLabel, t } from "./words.js";

const HEIGHT = 310;
const frame = (width) => ({ left: 56, right: width - 12, top: 12, bottom: HEIGHT - 44 });
const COSTS = [
  ["parameters", "costParameters", 1],
  ["stepSeconds", "costStep", 1],
  ["seconds", "costTime", 60],
];

/** Build the plot of the result by a setting. */
export function buildScatter() {
  const { columns } = report;
  if (!columns.some(({ key }) => key === state.setting)) {
    state.setting = (columns.find(({ key }) => state.columns.has(key)) ?? columns[0])?.key ?? "";
  }
  const options = columns.map(({ key, name }) => [key, name]);
  const chooser = select(t("setting"), options, state.setting, (value) => change({ setting: value }));
  return card("scatter", t("scatter"), columns.length ? chooser : null, "", (box) => {
    const points = drawnRows()
      .map((row) => ({ row, value: row.setting(state.setting), gain: row.metric(state.result) }))
      .filter(({ value, gain }) => value !== null && value !== undefined && !value.varied && gain !== null);
    if (!points.length) return null;
    const x = settingScale(points.map(({ value }) => value), box.left, box.right);
    const name = columns.find(({ key }) => key === state.setting).name;
    return plot(points.map((point) => ({ ...point, at: point.value })), x, name, [], box);
  });
}

/** Build the plot of the result by cost, with the Pareto front. */
export function buildPareto() {
  const known = COSTS.filter(([name]) => runs.some((run) => run[name] !== null));
  if (!known.some(([name]) => name === state.cost)) state.cost = known[0]?.[0] ?? "seconds";
  const options = known.map(([name, words]) => [name, t(words)]);
  const chooser = select(t("cost"), options, state.cost, (value) => change({ cost: value }));
  return card("pareto", t("pareto"), chooser, t("paretoNote"), (box) => {
    const [, words, unit] = COSTS.find(([name]) => name === state.cost);
    const points = drawnRows()
      .map((row) => ({ row, at: row.total(state.cost), gain: row.metric(state.result) }))
      .filter(({ at, gain }) => at !== null && gain !== null)
      .map((point) => ({ ...point, at: point.at / unit }));
    if (!points.length) return null;
    const sign = state.result.endsWith("_rank") ? -1 : 1;
    const front = paretoFront(points.map(({ at, gain }) => ({ cost: at, gain: sign * gain })));
    return plot(points, settingScale(points.map(({ at }) => at), box.left, box.right, false), t(words), front, box);
  });
}

function card(name, title, chooser, note, draw) {
  const chart = el("div", {});
  onChange(drawWide(chart, (width) => draw(frame(width)) ?? el("p", { className: "hint" }, t("nothingToDraw"))));
  return el("div", { className: "card", "data-card": name }, el("div", { className: "line" }, el("h3", {}, title), chooser), chart, el("p", { className: "hint" }, note));
}

function plot(points, x, xLabel, front, box) {
  const spreads = points.map(({ row }) => row.spread(state.result) ?? 0);
  const low = Math.min(...points.map(({ gain }, n) => gain - spreads[n]));
  const high = Math.max(...points.map(({ gain }, n) => gain + spreads[n]));
  const y = numericScale(...padded(low, high), box.bottom, box.top);
  const onFront = new Set(front);
  const dots = points.flatMap((point, n) => dot(point, spreads[n], x, y, xLabel, onFront.has(n)));
  const steps = front.map((n) => points[n]).sort((a, b) => a.at - b.at);
  const path = steps.map(({ at, gain }, n) => (n ? `H${x.at(at)}V${y.at(gain)}` : `M${x.at(at)} ${y.at(gain)}`)).join("");
  const ticks = x.isNumeric ? { xText: (value) => number(value, digitsFor(x.ticks)) } : {};
  const label = metricLabel(state.result) + (state.result === "rsum" || state.result.endsWith("_rank") ? "" : ", %");
  return svg(
    "svg",
    { viewBox: `0 0 ${box.right + 12} ${HEIGHT}`, role: "img", "aria-label": `${label} / ${xLabel}` },
    axes({ x, y, box, xLabel, yLabel: label, ...ticks }),
    path ? svg("path", { class: "front", d: path }) : null,
    dots,
  );
}

/** Return the fewest significant digits, at least 3, with which all ticks have different labels. */
function digitsFor(ticks) {
  return [3, 4, 5, 6].find((digits) => new Set(ticks.map((tick) => number(tick, digits))).size === ticks.length) ?? 6;
}

function dot({ row, at, gain }, spread, x, y, xLabel, isFront) {
  const text = [row.label, `${xLabel} ${typeof at === "number" ? number(at, 4) : at}`, `${metricLabel(state.result)} ${metricText(state.result, gain)}${spread ? ` ± ${spread.toFixed(2)}` : ""}`];
  const circle = svg("circle", {
    class: isFront ? "dot front" : "dot",
    cx: x.at(at),
    cy: y.at(gain),
    r: isFront ? 6 : 4.5,
    fill: row.colour,
    onpointermove: (event) => showTip(event, text),
    onpointerleave: hideTip,
  });
  if (!spread) return [circle];
  return [svg("path", { class: "whisker", d: `M${x.at(at)} ${y.at(gain - spread)}V${y.at(gain + spread)}` }), circle];
}
