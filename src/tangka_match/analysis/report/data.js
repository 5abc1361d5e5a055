// What `report_blocks` of payload.py wrote into the page.

import { valueAt } from "./statistics.js";

export const report = readBlock("report");
export const runs = report.runs;
const curveBlocks = new Map();

function readBlock(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/** The curve of one metric of one run, [steps, values], or undefined; a metric's block is read when first asked for. */
export function curveOf(metric, run) {
  if (!curveBlocks.has(metric)) {
    const place = report.curves.indexOf(metric);
    curveBlocks.set(metric, place < 0 ? {} : readBlock(`curves-${place}`));
  }
  return curveBlocks.get(metric)[run];
}

/** Seconds of work after which a run had done a step. */
export function secondsAt(run, step) {
  const [steps, seconds] = runs[run].clock;
  return valueAt(steps, seconds, step) ?? runs[run].seconds;
}

/** The value of a setting in a run, by its dotted name. */
export function settingOf(run, key) {
  return run.settings[report.settings.indexOf(key)];
}

/** A short name of the data that a run was validated on. */
export function dataName(run) {
  const root = settingOf(run, "data.root");
  const name = root ? String(root).split("/").filter(Boolean).pop() : null;
  return [name, run.data ? run.data.slice(0, 6) : null].filter(Boolean).join(" · ") || "–";
}

/** Recipes: runs that differ in their seed alone, as lists of run numbers. */
export const recipes = [];
runs.forEach((run, n) => {
  (recipes[run.recipe] ??= []).push(n);
});
