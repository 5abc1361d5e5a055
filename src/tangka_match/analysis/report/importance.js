// Importance of the settings for the result, one bar per setting.

import { report, runs, settingOf } from "./data.js";
import { breakable, el } from "./dom.js";
import { signed } from "./format.js";
import { importance, rankCorrelation } from "./statistics.js";
import { drawnRows, onChange, state } from "./state.js";
import { t } from "./words.js";

const MAX_SETTINGS = 10;

/** Build the card. */
export function buildImportance() {
  const list = el("div", { className: "importance" });
  const basis = el("span", { className: "hint" });
  const update = () => {
    const members = drawnRows()
      .flatMap((row) => row.members)
      .filter((n) => runs[n].status === "finished" && runs[n].metrics[state.result] !== undefined);
    basis.textContent = t("basis", members.length);
    const found = ranked(members);
    list.replaceChildren(...(found.length ? found.map(bar) : [el("p", { className: "hint" }, t("importanceNone"))]));
  };
  onChange(update);
  update();
  return el("div", { className: "card", "data-card": "importance" }, el("div", { className: "line" }, el("h3", {}, t("importance")), basis), list, el("p", { className: "hint" }, t("importanceNote")));
}

function ranked(members) {
  const results = members.map((n) => runs[n].metrics[state.result]);
  return [...report.columns, { key: "seed", name: t("seed") }]
    .filter(({ key }) => key === "seed" || state.columns.has(key))
    .map(({ key, name }) => {
      const settings = members.map((n) => (key === "seed" ? String(runs[n].seed) : (settingOf(runs[n], key) ?? "–")));
      const isNumeric = settings.every((value) => typeof value === "number");
      return { name, key, share: importance(settings, results), rho: isNumeric ? rankCorrelation(settings, results) : null };
    })
    .filter(({ share }) => share !== null)
    .sort((a, b) => b.share - a.share)
    .slice(0, MAX_SETTINGS);
}

function bar({ name, key, share, rho }) {
  return el(
    "div",
    { className: "share", title: key, "data-setting": key },
    el("span", {}, breakable(name)),
    el("span", { className: "track" }, el("i", { style: { width: `${(100 * share).toFixed(1)}%` } })),
    el("b", {}, `${(100 * share).toFixed(0)} %`),
    el("span", { className: "hint" }, rho === null ? "" : `ρ ${signed(rho)}`),
  );
}
