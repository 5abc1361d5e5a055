// Bar chart of recalls, with error bars.

import { axes } from "./axes.js";
import { drawWide, el, hideTip, showTip, svg } from "./dom.js";
import { metricText } from "./format.js";
import { numericScale } from "./scale.js";
import { drawnRows, onChange } from "./state.js";
import { metricLabel, t } from "./words.js";

const MAX_ROWS = 8;
const HEIGHT = 300;
const RECALLS = ["i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10"];

/** Build the card of the bar chart. */
export function buildBars() {
  const title = el("h3", {});
  const chart = el("div", { className: "drawing" });
  const legend = el("ul", { className: "legend" });
  const best = () => drawnRows().filter((row) => row.metric("mean_r1") !== null).slice(0, MAX_ROWS);
  const redraw = drawWide(chart, (width) => draw(best(), width));
  const update = () => {
    const rows = best();
    title.textContent = t("recalls", rows.length);
    redraw();
    legend.replaceChildren(...rows.map((row) => el("li", {}, el("i", { style: { background: row.colour } }), row.label)));
  };
  onChange(update);
  update();
  return el("div", { className: "card", "data-card": "bars" }, title, chart, legend, el("p", { className: "hint" }, t("recallsNote")));
}

function draw(rows, width) {
  if (!rows.length) return el("p", { className: "hint" }, t("nothingToDraw"));
  const box = { left: 50, right: width - 10, top: 12, bottom: HEIGHT - 32 };
  const highest = Math.max(...rows.flatMap((row) => RECALLS.map((name) => endsOf(row, name)?.[1] ?? row.metric(name) ?? 0)));
  const y = numericScale(0, Math.min(100, Math.max(1, 1.1 * highest)), box.bottom, box.top);
  const step = (box.right - box.left) / RECALLS.length;
  const middle = (name) => box.left + (RECALLS.indexOf(name) + 0.5) * step;
  const x = { at: middle, ticks: RECALLS };
  const thick = Math.min(40, (step * 0.84) / rows.length);
  const bars = RECALLS.flatMap((name) =>
    rows.flatMap((row, n) => bar(row, name, middle(name) + (n - (rows.length - 1) / 2) * thick, thick, y)),
  );
  return svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": "R@K" }, axes({ x, y, box, xLabel: "", yLabel: "R@K, %", xText: metricLabel, most: 30 }), bars);
}

/** Return the ends of the error bar, or null. */
function endsOf(row, name) {
  const [value, spread] = [row.metric(name), row.spread(name)];
  return value === null || spread === null ? row.interval(name) : [value - spread, value + spread];
}

function bar(row, name, centre, width, y) {
  const value = row.metric(name);
  if (value === null) return [];
  const ends = endsOf(row, name);
  const text = [row.label, `${metricLabel(name)} ${metricText(name, value)}`, ends ? `${ends[0].toFixed(1)} … ${ends[1].toFixed(1)}` : ""];
  const shape = svg("rect", {
    class: "bar",
    x: centre - width / 2 + 0.5,
    y: y.at(value),
    width: Math.max(1, width - 1),
    height: Math.max(0, y.at(0) - y.at(value)),
    fill: row.colour,
    onpointermove: (event) => showTip(event, text.filter(Boolean)),
    onpointerleave: hideTip,
  });
  if (!ends) return [shape];
  const [low, high] = ends.map((end) => y.at(Math.min(100, Math.max(0, end))));
  return [shape, svg("path", { class: "whisker", d: `M${centre} ${low}V${high}M${centre - 3} ${low}h6M${centre - 3} ${high}h6` })];
}
