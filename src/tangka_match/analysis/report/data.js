// Data of the page, as written by `report_blocks` in payload.py.

import { valueAt } from "./statistics.js";

export const report = readBlock("report");
export const runs = report.runs;
const curveBlocks = new Map();

function readBlock(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/** Return the curve of a metric of a run, [steps, values], or undefined; the block of a metric is parsed on first use. */
export function curveOf(metric, run) {
  if (!curveBlocks.has(metric)) {
    const place = report.curves.indexOf(metric);
    curveBlocks.set(metric, place < 0 ? {} : readBlock(`curves-${place}`));
  }
  return curveBlocks.get(metric)[run];
}

/** Return the seconds of training after which a run had finished a step. */
export function secondsAt(run, step) {
  const [steps, seconds] = runs[run].clock;
  return valueAt(steps, seconds, step) ?? runs[run].seconds;
}

/** Return the value of a setting of a run, by its dotted name. */
export function settingOf(run, key) {
  return run.settings[report.settings.indexOf(key)];
}

/** Return a short name of the dataset of a run. */
export function dataName(run) {
  const root = settingOf(run, "data.root");
  const name = root ? String(root).split("/").filter(Boolean).pop() : null;
  return [name, run.data ? run.data.slice(0, 6) : null].filter(Boolean).join(" · ") || "–";
}

/** Recipes: lists of the numbers of runs that differ only in their seed. */
export const recipes = [];
runs.forEach((run, n) => {
  (recipes[run.recipe] ??= []).push(n);
});
