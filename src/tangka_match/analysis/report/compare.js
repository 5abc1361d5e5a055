// Comparison of two runs, or of two recipes with several seeds: settings, recalls, significance.

import { recipes, report, runs } from "./data.js";
import { breakable, el, select } from "./dom.js";
import { metricText, pText, setting, signed } from "./format.js";
import { change, makeRow, onChange, rows, state } from "./state.js";
import { metricLabel, statusText, t } from "./words.js";

/** Build the section. */
export function buildCompare() {
  const choices = el("div", { className: "controls" });
  const content = el("div", { className: "compared" });
  const update = () => {
    const sides = ["a", "b"].map((side) => (state[side] ? makeRow(state[side]) : null));
    choices.replaceChildren(...["a", "b"].map(chooser));
    content.replaceChildren(...(sides.every(Boolean) ? compared(...sides) : [el("p", { className: "hint" }, t("pickHint"))]));
  };
  onChange(update);
  update();
  return el("section", { id: "compare" }, el("h2", {}, t("compare")), choices, content);
}

/** Select the two best rows. */
export function chooseTwoBest() {
  const best = rows()
    .filter((row) => row.metric("mean_r1") !== null)
    .sort((left, right) => right.metric("mean_r1") - left.metric("mean_r1"));
  if (best.length > 1) [state.b, state.a] = [best[0].key, best[1].key];
}

function chooser(side) {
  const several = recipes.map((members, n) => (members.length > 1 ? `g${n}` : null)).filter(Boolean);
  const keys = [...several, ...runs.map((_, n) => `r${n}`)];
  const options = keys.map((key) => {
    const row = makeRow(key);
    const value = row.metric("mean_r1");
    // The number comes first: a narrow list cuts the end of its text.
    return [key, `${value === null ? statusText(row.first.status) : metricText("mean_r1", value)} · ${row.isFolded ? row.first.name : row.first.id} · ${row.label}`];
  });
  const list = select(side.toUpperCase(), [["", t("choose")], ...options], state[side] ?? "", (value) => change({ [side]: value || null }));
  return el("label", {}, el("b", {}, `${side.toUpperCase()} `), list);
}

function compared(a, b) {
  return [verdict(a, b), el("div", { className: "pair" }, settingsCard(a, b), metricsCard(a, b))];
}

function settingsCard(a, b) {
  const values = (row, key) => {
    const value = row.setting(key);
    return value?.varied ? t("varied", value.varied) : setting(value);
  };
  const lines = report.settings
    .map((key) => [key, values(a, key), values(b, key)])
    .filter(([, left, right]) => left !== right)
    .map(([key, left, right]) => el("tr", {}, el("td", { className: "key" }, breakable(key)), el("td", {}, left), el("td", {}, right)));
  const same = report.same + report.settings.length - lines.length;
  return el(
    "div",
    { className: "card", "data-card": "difference" },
    el("h3", {}, t("differs")),
    lines.length ? el("table", { className: "settings" }, el("thead", {}, el("tr", {}, ["", "A", "B"].map((text) => el("th", {}, text)))), el("tbody", {}, lines)) : el("p", {}, t("noDifference")),
    lines.length ? el("p", { className: "hint" }, t("sameSettings", same)) : null,
  );
}

function metricsCard(a, b) {
  const cell = (row, name) => {
    const spread = row.spread(name);
    return metricText(name, row.metric(name)) + (spread === null ? "" : ` ± ${spread.toFixed(2)}`);
  };
  const known = report.metrics.filter((name) => a.metric(name) !== null || b.metric(name) !== null);
  const lines = known.map((name) => {
    const [left, right] = [a.metric(name), b.metric(name)];
    const difference = left === null || right === null ? "–" : signed(right - left);
    const isMain = name === "mean_r1";
    return el("tr", { className: isMain ? "main" : "" }, el("td", {}, metricLabel(name)), [cell(a, name), cell(b, name), difference].map((text) => el("td", { className: "number" }, text)));
  });
  const headings = ["", "A", "B", t("difference")].map((text, n) => el("th", { className: n ? "number" : "" }, text));
  return el("div", { className: "card" }, el("h3", {}, t("result")), el("table", {}, el("thead", {}, el("tr", {}, headings)), el("tbody", {}, lines)));
}

function verdict(a, b) {
  const found = findVerdict(a, b);
  const parts = [];
  if (found?.difference) {
    const sign = found.isSwapped ? -1 : 1;
    const { difference, low, high, p } = found.difference;
    const ends = [sign * low, sign * high].sort((x, y) => x - y);
    const winner = found.better === null ? null : (found.better === "a") === found.isSwapped ? "B" : "A";
    parts.push(el("b", {}, winner === null ? t("verdictTied") : t("verdictWins", winner, Math.abs(difference).toFixed(2))));
    parts.push(t("verdictNumbers", signed(sign * difference), signed(ends[0], 1), signed(ends[1], 1), pText(p)));
    parts.push(el("p", { className: "hint" }, t("verdictNote")));
  } else if (found) {
    parts.push(t("verdictCannot", found.reason));
  } else if (![...a.members, ...b.members].every((n) => runs[n].hasRanks)) {
    parts.push(t("verdictNoRanks"));
  } else if (a.isFolded !== b.isFolded) {
    parts.push(t("verdictSeeds"));
  } else {
    parts.push(t("verdictAsk"), el("pre", {}, `python -m tangka_match.compare ${side("a", a)} ${side("b", b)}`));
  }
  return el("div", { className: "card verdict-card", "data-card": "verdict" }, parts);
}

function side(name, row) {
  const paths = row.members.map((n) => runs[n].path);
  return `'${name}=${paths.length > 1 ? `[${paths.join(",")}]` : paths[0]}'`;
}

/** Find the comparison stored in the page, in either order; runs without ranks are not part of it. */
function findVerdict(a, b) {
  const same = (row, members) => {
    const ranked = row.members.filter((n) => runs[n].hasRanks);
    return ranked.length === members.length && members.every((n) => ranked.includes(n));
  };
  for (const found of report.verdicts) {
    if (same(a, found.a) && same(b, found.b)) return { ...found, isSwapped: false };
    if (same(a, found.b) && same(b, found.a)) return { ...found, isSwapped: true };
  }
  return null;
}
