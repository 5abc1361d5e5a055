// Line chart on a canvas: drag to zoom, double-click to reset, tooltip for the nearest curve.

import { report, runs, settingOf } from "./data.js";
import { el, hideTip, select, showTip } from "./dom.js";
import { number, setting } from "./format.js";
import { numericScale, padded } from "./scale.js";
import { forgetCurves, rowCurves, unit } from "./series.js";
import { change, drawnRows, onChange, state } from "./state.js";
import { valueAt } from "./statistics.js";
import { t } from "./words.js";

const MARGIN = { left: 58, right: 14, top: 12, bottom: 42 };
const HEIGHT = 320;
/** Largest distance of the pointer to the nearest curve, in pixels. */
const MAX_DISTANCE = 24;

/** Build the section: controls shared by all charts, and the charts. */
export function buildCurves() {
  const slider = el("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: state.smoothing, "aria-label": t("smoothing") });
  const shown = el("output", {}, state.smoothing.toFixed(2));
  slider.addEventListener("input", () => {
    forgetCurves();
    shown.textContent = Number(slider.value).toFixed(2);
    change({ smoothing: Number(slider.value) });
  });
  const axis = select(t("against"), [["step", t("byStep")], ["time", t("byTime")]], state.axis, (value) => {
    for (const panel of state.panels) panel.zoom = null;
    change({ axis: value });
  });
  return el(
    "section",
    { className: "later" },
    el("h2", {}, t("curves")),
    el("div", { className: "controls" }, el("label", {}, `${t("smoothing")} `, slider, shown), el("label", {}, `${t("against")} `, axis)),
    el("div", { className: "pair" }, state.panels.map(lineChart)),
    el("p", { className: "hint" }, t("curvesNote")),
  );
}

function lineChart(panel, place) {
  if (!report.curves.includes(panel.metric)) panel.metric = report.curves[Math.min(place, report.curves.length - 1)] ?? "";
  const canvas = el("canvas", { className: "lines", "data-chart": place, role: "img" });
  const reset = el("button", { type: "button", className: "reset", onclick: () => zoomTo(panel, null) }, t("resetZoom"));
  const log = el("input", { type: "checkbox", checked: panel.log });
  log.addEventListener("change", () => {
    panel.log = log.checked;
    zoomTo(panel, null);
  });
  const names = select(t("metric"), report.curves.map((name) => [name, name]), panel.metric, (value) => {
    panel.metric = value;
    zoomTo(panel, null);
  });
  const chart = { panel, canvas, plan: null, drag: null, near: null };
  const update = () => {
    reset.hidden = panel.zoom === null;
    canvas.setAttribute("aria-label", panel.metric);
    draw(chart);
  };
  listen(chart);
  onChange(update);
  new ResizeObserver(update).observe(canvas);
  return el(
    "div",
    { className: "card" },
    el("div", { className: "line" }, names, el("label", { className: "check" }, log, t("logarithmic")), reset),
    canvas,
  );
}

function zoomTo(panel, zoom) {
  panel.zoom = zoom;
  change();
}

/** Compute the curves, scales and frame of a drawing. */
function layout({ panel, canvas }) {
  const width = canvas.clientWidth;
  const frame = { left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top, bottom: HEIGHT - MARGIN.bottom };
  const rows = drawnRows().map((row) => ({ row, ...rowCurves(row, panel.metric, state.axis, state.smoothing, state.hidden) }));
  const range = panel.zoom ?? extent(rows, panel.log);
  const usable = (low) => !panel.log || low > 0;
  const isLog = panel.log && usable(range.y[0]);
  return {
    frame,
    rows: rows.filter(({ curves }) => curves.length),
    x: numericScale(...range.x, frame.left, frame.right),
    y: numericScale(...range.y, frame.bottom, frame.top, isLog),
    isLog,
  };
}

function extent(rows, isLog) {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const { curves } of rows) {
    for (const [, [xs, ys]] of curves) {
      left = Math.min(left, xs[0]);
      right = Math.max(right, xs[xs.length - 1]);
      for (const y of ys) {
        if (isLog && y <= 0) continue;
        if (y < low) low = y;
        if (y > high) high = y;
      }
    }
  }
  const y = isLog && low > 0 ? [low / 1.1, high * 1.1] : padded(low, high);
  return { x: padded(left, right, 0.01), y };
}

function draw(chart) {
  const { canvas, panel, drag, near } = chart;
  const ratio = window.devicePixelRatio || 1;
  if (!canvas.clientWidth) return;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = HEIGHT * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const plan = layout(chart);
  chart.plan = plan;
  drawFrame(context, plan);
  if (!plan.rows.length) {
    context.textAlign = "center";
    context.fillText(t("nothingToDraw"), (plan.frame.left + plan.frame.right) / 2, HEIGHT / 2);
  }
  context.save();
  context.beginPath();
  context.rect(plan.frame.left, plan.frame.top, plan.frame.right - plan.frame.left, plan.frame.bottom - plan.frame.top);
  context.clip();
  const faint = plan.rows.length > 12 ? Math.max(0.25, 3 / Math.sqrt(plan.rows.length)) : 1;
  for (const item of [...plan.rows].reverse()) drawRow(context, plan, item, near ? faint * 0.35 : faint);
  if (near) drawRow(context, plan, near.item, 1, true);
  context.restore();
  if (drag?.end) {
    context.fillStyle = "rgba(52,101,164,.14)";
    context.strokeStyle = "#3465a4";
    const box = [drag.start[0], drag.start[1], drag.end[0] - drag.start[0], drag.end[1] - drag.start[1]];
    context.fillRect(...box);
    context.strokeRect(...box);
  }
  canvas.dataset.range = JSON.stringify(panel.zoom);
  canvas.dataset.drawn = plan.rows.length;
  canvas.dataset.scale = plan.isLog ? "log" : "linear";
}

function drawFrame(context, { frame, x, y }) {
  context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  context.lineWidth = 1;
  context.strokeStyle = "#e2e5ec";
  context.fillStyle = "#5c6577";
  context.textAlign = "center";
  for (const tick of x.ticks) context.fillText(number(tick, 4), x.at(tick), frame.bottom + 17);
  context.fillText(state.axis === "step" ? t("step") : t(unit().name), (frame.left + frame.right) / 2, frame.bottom + 36);
  context.textAlign = "right";
  for (const tick of y.ticks) {
    context.beginPath();
    context.moveTo(frame.left, y.at(tick));
    context.lineTo(frame.right, y.at(tick));
    context.stroke();
    context.fillText(number(tick), frame.left - 7, y.at(tick) + 4);
  }
}

function drawRow(context, plan, { row, curves, middle }, alpha, isBold = false) {
  context.strokeStyle = row.colour;
  context.fillStyle = row.colour;
  if (middle) {
    context.globalAlpha = 0.16 * alpha;
    band(context, plan, middle);
    context.globalAlpha = 0.35 * alpha;
    context.lineWidth = 0.8;
    for (const [, [xs, ys]] of curves) path(context, plan, xs, ys);
    context.globalAlpha = alpha;
    context.lineWidth = isBold ? 3.2 : 2.2;
    path(context, plan, middle.xs, middle.means);
  } else {
    context.globalAlpha = alpha;
    context.lineWidth = isBold ? 2.8 : 1.5;
    for (const [, [xs, ys]] of curves) path(context, plan, xs, ys);
  }
  context.globalAlpha = 1;
}

function path(context, { x, y, isLog }, xs, ys) {
  if (xs.length === 1) {
    context.beginPath();
    context.arc(x.at(xs[0]), y.at(ys[0]), 3, 0, 7);
    context.fill();
    return;
  }
  context.beginPath();
  xs.forEach((value, n) => {
    if (!isLog || ys[n] > 0) context.lineTo(x.at(value), y.at(ys[n]));
  });
  context.stroke();
}

function band(context, { x, y, isLog }, { xs, means, stds }) {
  const floor = (value, n) => (isLog && value <= 0 ? means[n] : value);
  context.beginPath();
  xs.forEach((value, n) => context.lineTo(x.at(value), y.at(means[n] + stds[n])));
  for (let n = xs.length - 1; n >= 0; n -= 1) context.lineTo(x.at(xs[n]), y.at(floor(means[n] - stds[n], n)));
  context.fill();
}

function listen(chart) {
  const { canvas, panel } = chart;
  const place = (event) => [event.offsetX, event.offsetY];
  canvas.addEventListener("pointerdown", (event) => {
    chart.drag = { start: place(event), end: null };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (chart.drag) chart.drag.end = place(event);
    const before = chart.near?.run;
    chart.near = chart.drag ? null : nearest(chart.plan, ...place(event));
    if (chart.near) showTip(event, describe(chart));
    else hideTip();
    if (chart.drag || chart.near?.run !== before) draw(chart);
  });
  canvas.addEventListener("pointerup", (event) => {
    const { start } = chart.drag ?? {};
    chart.drag = null;
    if (!start) return;
    const end = place(event);
    if (Math.abs(end[0] - start[0]) < 6 || Math.abs(end[1] - start[1]) < 6) return draw(chart);
    const { x, y } = chart.plan;
    const sorted = (a, b) => (a < b ? [a, b] : [b, a]);
    zoomTo(panel, { x: sorted(x.from(start[0]), x.from(end[0])), y: sorted(y.from(start[1]), y.from(end[1])) });
  });
  canvas.addEventListener("pointerleave", () => {
    chart.near = null;
    hideTip();
    draw(chart);
  });
  canvas.addEventListener("dblclick", () => zoomTo(panel, null));
}

/** Find the curve closest above or below the pointer, and its point closest to the pointer. */
function nearest({ rows, x, y }, left, top) {
  const at = x.from(left);
  let [best, found] = [MAX_DISTANCE, null];
  for (const item of rows) {
    for (const [run, [xs, ys]] of item.curves) {
      const value = xs.length === 1 && Math.abs(x.at(xs[0]) - left) < MAX_DISTANCE ? ys[0] : valueAt(xs, ys, at);
      const far = value === null ? Infinity : Math.abs(y.at(value) - top);
      if (far < best) [best, found] = [far, { item, run, xs, ys }];
    }
  }
  if (!found) return null;
  const { item, run, xs, ys } = found;
  let n = xs.findIndex((place) => place >= at);
  if (n < 0 || (n > 0 && at - xs[n - 1] < xs[n] - at)) n = n < 0 ? xs.length - 1 : n - 1;
  return { item, run, x: xs[n], y: ys[n] };
}

function describe({ near, panel }) {
  const at = state.axis === "step" ? `${t("byStep")} ${number(near.x, 5)}` : `${number(near.x, 3)} ${t(unit().name)}`;
  const run = runs[near.run];
  const settings = report.columns.filter(({ key }) => state.columns.has(key));
  const text = settings.map(({ key, name }) => `${name}=${setting(settingOf(run, key))}`);
  return [`${run.name} ${run.id}`, `${panel.metric} ${number(near.y, 4)} · ${at}`, [...text, `${t("seed")}=${run.seed}`].join("  ")];
}
