// Selections on the page, and the rows that follow from them.

import { PALETTE, ramp } from "./colours.js";
import { dataName, recipes, report, runs, settingOf } from "./data.js";
import { setting } from "./format.js";
import { mean, std } from "./statistics.js";

const DEFAULT_COLUMNS = 5;
/** Maximum number of recipes with distinct colours; with more, the colour shows the result. */
const MAX_COLOURS = 30;

export const state = {
  text: "",
  status: "",
  sweep: "",
  data: "",
  folded: recipes.some((members) => members.length > 1),
  hidden: new Set(),
  opened: new Set(),
  detailed: new Set(),
  sort: { key: "metric:mean_r1", down: true },
  columns: new Set(firstColumns()),
  smoothing: 0,
  axis: "step",
  panels: [{ metric: "val/mean_r1", log: false, zoom: null }, { metric: "train/loss", log: false, zoom: null }],
  result: "mean_r1",
  setting: "",
  cost: "",
  brushes: new Map(),
  a: null,
  b: null,
};

const listeners = new Set();
let pending = false;

/** Call `update` after changes, once per frame. */
export function onChange(update) {
  listeners.add(update);
}

/** Remove all listeners, before the page is rebuilt. */
export function clearListeners() {
  listeners.clear();
}

/** Change selections. */
export function change(patch = {}) {
  Object.assign(state, patch);
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    for (const update of listeners) update();
  });
}

function firstColumns() {
  const swept = report.columns.filter((column) => column.swept);
  return (swept.length ? swept : report.columns).slice(0, DEFAULT_COLUMNS).map((column) => column.key);
}

const colours = new Map(
  recipes
    .map((members, n) => [n, meanOf(members.filter((m) => runs[m].status === "finished"), "mean_r1") ?? -1])
    .sort((a, b) => b[1] - a[1])
    .map(([recipe], place) => [recipe, recipes.length > MAX_COLOURS ? ramp(1 - place / recipes.length) : PALETTE[place % PALETTE.length]]),
);

function meanOf(members, metric) {
  return mean(members.map((n) => runs[n].metrics[metric]).filter((value) => value !== undefined));
}

/** Return the results of a recipe over the queries of all held-out folds, one per seed; null for other rows. */
function pooledOf(key, members) {
  if (key[0] !== "g") return null;
  const recipe = Number(key.slice(1));
  return members.length === recipes[recipe].length ? (report.pooled[recipe] ?? null) : null;
}

/**
 * Return a row: a single run, or the seeds of a recipe with means over the finished ones. The key `r3` is run 3, and
 * `g1` is recipe 1, with all its runs unless `some` are given. The folds of a cross-validation are pooled: one sample per seed.
 */
export function makeRow(key, some = null) {
  const members = some ?? (key[0] === "r" ? [Number(key.slice(1))] : recipes[Number(key.slice(1))]);
  const first = runs[members[0]];
  const isFolded = members.length > 1;
  // The recall of an interrupted run is not a sample of the recipe's recall.
  const finished = members.filter((n) => runs[n].status === "finished");
  const counted = finished.length ? finished : members;
  const pooled = pooledOf(key, members);
  const samples = (name) => (pooled ?? counted.map((n) => runs[n])).map((one) => one.metrics[name]).filter((value) => value !== undefined);
  return {
    key,
    members,
    counted,
    first,
    isFolded,
    colour: colours.get(first.recipe),
    label: label(members),
    setting: (name) => shared(members.map((n) => settingOf(runs[n], name))),
    pooled,
    metric: (name) => mean(samples(name)),
    spread: (name) => std(samples(name)),
    interval: (name) => (pooled?.length === 1 ? pooled[0].intervals[name] : isFolded ? null : (first.intervals[name] ?? null)),
    total: (name) => mean(counted.map((n) => runs[n][name]).filter((value) => value !== null)),
  };
}

const HAS_NAMES = new Set(runs.map((run) => run.name)).size > 1;

/** Return a short label of a row: its settings in the selected columns, and its seed or number of seeds. */
function label(members) {
  const chosen = report.columns.filter(({ key }) => state.columns.has(key));
  const words = chosen.map(({ key, name }) => [name, shared(members.map((n) => settingOf(runs[n], key)))]);
  const settings = words.filter(([, value]) => value !== null && !value.varied);
  const { name, seed } = runs[members[0]];
  const text = [HAS_NAMES ? name : "", ...settings.map(([key, value]) => `${key}=${setting(value)}`)].filter(Boolean).join(" ") || name;
  return members.length > 1 ? `${text} ×${members.length}` : `${text} seed=${seed ?? "?"}`;
}

function shared(values) {
  const distinct = new Set(values.map((value) => JSON.stringify(value ?? null)));
  return distinct.size === 1 ? (values[0] ?? null) : { varied: distinct.size };
}

/** Return the numbers of the runs that match the filters. */
export function shownRuns() {
  const terms = state.text.trim().split(/\s+/).filter(Boolean).map(readTerm);
  return runs
    .map((run, n) => [run, n])
    .filter(([run]) => !state.status || run.status === state.status)
    .filter(([run]) => !state.sweep || run.sweep === state.sweep)
    .filter(([run]) => !state.data || dataName(run) === state.data)
    .filter(([run]) => terms.every((passes) => passes(run)))
    .map(([, n]) => n);
}

/** Parse a filter term: `name=value`, `name>value` … for a setting or metric; other terms are searched as text. */
function readTerm(term) {
  const [, name, sign, given] = /^([^<>=]+)(<=|>=|<|>|=)(.+)$/.exec(term) ?? [];
  const key = name && (report.settings.find((s) => s === name) ?? report.settings.find((s) => matchesShortName(s, name)));
  if (!key && !report.metrics.includes(name)) return (run) => searchText(run).includes(term.toLowerCase());
  return (run) => {
    const value = key ? settingOf(run, key) : run.metrics[name];
    if (value === null || value === undefined) return false;
    const [left, right] = [Number(value), Number(given)];
    if (sign === "=") return String(value).toLowerCase() === given.toLowerCase() || left === right;
    return { "<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right }[sign];
  };
}

function matchesShortName(setting, name) {
  return setting.endsWith(`.${name}`) || setting === `${name}._target_` || setting.endsWith(`.${name}._target_`);
}

function searchText(run) {
  const columns = report.columns.map(({ key, name }) => `${name}=${settingOf(run, key)}`);
  return [run.id, run.name, run.status, run.sweep, ...run.tags, ...run.overrides, ...columns].join(" ").toLowerCase();
}

/** Return the sorted top-level rows of the table: recipes if seeds are grouped, runs otherwise. */
export function rows() {
  const shown = shownRuns();
  const found = state.folded ? foldedRows(shown) : shown.map((n) => makeRow(`r${n}`));
  return found.sort(byChoice);
}

function foldedRows(shown) {
  const isShown = new Set(shown);
  return recipes.flatMap((members, recipe) => {
    const found = members.filter((n) => isShown.has(n));
    return found.length > 1 ? [makeRow(`g${recipe}`, found)] : found.map((n) => makeRow(`r${n}`));
  });
}

function byChoice(left, right) {
  const [a, b] = [sortValue(left), sortValue(right)];
  const [noA, noB] = [a === null || a === undefined, b === null || b === undefined];
  if (noA || noB) return noA - noB || left.first.id.localeCompare(right.first.id);
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  return (state.sort.down ? -order : order) || left.first.id.localeCompare(right.first.id);
}

function sortValue(row) {
  const [kind, ...rest] = state.sort.key.split(":");
  const name = rest.join(":");
  if (kind === "metric") return row.metric(name);
  if (kind === "total") return row.total(name);
  if (kind === "data") return dataName(row.first);
  if (kind === "verdict") return verdictOrder(row);
  if (kind === "setting") {
    const value = row.setting(name);
    return value?.varied ? null : value;
  }
  return row.first[kind];
}

/** Return the comparison of a row with the best of its kind; `{ best: true }` for the best, null without a comparison. */
export function verdictOf(row) {
  const members = new Set(row.members);
  const covers = (side) => side.every((n) => members.has(n)) && (side.length > 1) === row.isFolded;
  const found = report.verdicts.find((verdict) => covers(verdict.b));
  if (found) return found;
  return report.verdicts.some((verdict) => covers(verdict.a)) ? { best: true } : null;
}

function verdictOrder(row) {
  const found = verdictOf(row);
  if (!found) return null;
  return found.best ? 0 : (found.difference?.difference ?? null);
}

/** Return the rows shown in the charts, the best first. */
export function drawnRows() {
  const value = (row) => row.metric("mean_r1") ?? -Infinity;
  return rows()
    .filter((row) => row.members.some((n) => !state.hidden.has(n)))
    .sort((a, b) => value(b) - value(a) || 0);
}

/** Show or hide the runs of a row in the charts. */
export function toggleRow(row) {
  const isHidden = row.members.every((n) => state.hidden.has(n));
  for (const n of row.members) {
    if (isHidden) state.hidden.delete(n);
    else state.hidden.add(n);
  }
  change();
}
