// Smoothed curves of a row over steps or time.

import { curveOf, runs, secondsAt } from "./data.js";
import { meanCurve, smooth } from "./statistics.js";

const prepared = new Map();

/** Return the curve of a run as [xs, ys], or null; cached, because every pointer event needs it. */
export function runCurve(metric, run, axis, smoothing) {
  const key = `${metric} ${run} ${axis} ${smoothing}`;
  if (!prepared.has(key)) {
    const found = curveOf(metric, run);
    const xs = found && (axis === "step" ? found[0] : found[0].map((step) => secondsAt(run, step) / unit().seconds));
    prepared.set(key, found ? [xs, smooth(found[1], smoothing)] : null);
  }
  return prepared.get(key);
}

/** Clear the cache; each position of the smoothing slider needs new curves. */
export function forgetCurves() {
  prepared.clear();
}

/** Return the unit of the time axis: minutes, or hours if a run took more than two hours. */
export function unit() {
  const longest = Math.max(...runs.map((run) => run.seconds));
  return longest > 7200 ? { name: "hours", seconds: 3600 } : { name: "minutes", seconds: 60 };
}

/** Return the curves of the runs of a row and, with several seeds, their mean and standard deviation. */
export function rowCurves(row, metric, axis, smoothing, hidden) {
  const members = row.members.filter((n) => !hidden.has(n));
  const curves = members.map((n) => [n, runCurve(metric, n, axis, smoothing)]).filter(([, curve]) => curve !== null);
  const counted = curves.filter(([n]) => row.counted.includes(n));
  if (counted.length < 2) return { curves, middle: null };
  const key = `mean ${metric} ${counted.map(([n]) => n)} ${axis} ${smoothing}`;
  if (!prepared.has(key)) prepared.set(key, meanCurve(counted.map(([, curve]) => curve)));
  return { curves, middle: prepared.get(key) };
}
