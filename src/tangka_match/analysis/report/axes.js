// Axes of the SVG charts.

import { setting } from "./format.js";
import { svg } from "./dom.js";

/** Draw grid lines and tick labels: x below, y on the left; labels have at most `most` characters. */
export function axes({ x, y, box, xLabel, yLabel, xText = setting, yText = setting, most = 14 }) {
  const { left, right, top, bottom } = box;
  const parts = [];
  const every = Math.max(1, Math.ceil(x.ticks.length / Math.max(2, (right - left) / 60)));
  x.ticks.forEach((tick, n) => {
    if (n % every) return;
    parts.push(svg("line", { class: "grid", x1: x.at(tick), x2: x.at(tick), y1: top, y2: bottom }));
    parts.push(svg("text", { class: "tick", x: x.at(tick), y: bottom + 16, "text-anchor": "middle" }, short(xText(tick), most)));
  });
  for (const tick of y.ticks) {
    parts.push(svg("line", { class: "grid", x1: left, x2: right, y1: y.at(tick), y2: y.at(tick) }));
    parts.push(svg("text", { class: "tick", x: left - 6, y: y.at(tick) + 4, "text-anchor": "end" }, short(yText(tick), most)));
  }
  const middle = (top + bottom) / 2;
  parts.push(svg("text", { class: "axis", x: (left + right) / 2, y: bottom + 34, "text-anchor": "middle" }, xLabel));
  parts.push(svg("text", { class: "axis", transform: `translate(13 ${middle}) rotate(-90)`, "text-anchor": "middle" }, yLabel));
  return parts;
}

/** Truncate a text to `most` characters. */
export function short(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
