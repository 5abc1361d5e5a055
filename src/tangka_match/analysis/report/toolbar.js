// Title, status counts and filters.

import { currentLanguage } from "../language.js";
import { dataName, report, runs } from "./data.js";
import { el, select } from "./dom.js";
import { moment } from "./format.js";
import { change, drawnRows, onChange, rows, shownRuns, state } from "./state.js";
import { statusHelp, statusText, t } from "./words.js";

/** Build the title and the status counts; `onLanguage` is called with the selected language. */
export function buildHeader(onLanguage) {
  const buttons = [["en", "English"], ["zh", "中文"]].map(([name, text]) =>
    el("button", { type: "button", "data-language": name, "aria-pressed": name === currentLanguage(), onclick: () => onLanguage(name) }, text),
  );
  return el(
    "header",
    { className: "top" },
    el("div", {}, el("h1", {}, t("title")), el("p", { className: "about" }, `${report.root} · ${t("written")} ${moment(report.written)}`)),
    el("div", { className: "switch", role: "group", "aria-label": "Language / 语言" }, buttons),
    tally(),
  );
}

function tally() {
  const items = count(runs.map((run) => run.status)).map(([status, n]) =>
    el("li", { className: `status ${status}`, title: statusHelp(status) }, `${n} ${statusText(status)}`),
  );
  const skipped = runs.reduce((sum, run) => sum + run.skipped, 0);
  const problems = runs.reduce((sum, run) => sum + run.problems.length, 0);
  if (skipped) items.push(el("li", { className: "status damaged" }, t("skipped", skipped)));
  if (problems) items.push(el("li", { className: "status damaged" }, t("problems", problems)));
  return el("ul", { className: "tally" }, items);
}

function count(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

/** Build the filter bar. */
export function buildFilters() {
  const search = el("input", { type: "search", placeholder: t("search"), "aria-label": t("search"), value: state.text });
  search.addEventListener("input", () => change({ text: search.value }));
  const seen = el("span", { className: "count", role: "status" });
  const mixed = el("p", { className: "hint mixed" });
  const bar = el(
    "div",
    { className: "filters" },
    search,
    chooser("status", t("allStatus"), runs.map((run) => run.status), statusText),
    chooser("sweep", t("allSweeps"), runs.map((run) => run.sweep)),
    chooser("data", t("allData"), runs.map(dataName)),
    el("label", { className: "check" }, foldBox(), t("fold")),
    seen,
    el(
      "span",
      { className: "drawn" },
      `${t("drawn")}${t("colon")}`,
      [["all", Infinity], ["best10", 10], ["none", 0]].map(([name, most]) =>
        el("button", { type: "button", "data-drawn": name, onclick: () => draw(most) }, t(name)),
      ),
    ),
    el("a", { href: "#compare", className: "jump" }, t("jump")),
    mixed,
  );
  const update = () => {
    const shown = shownRuns();
    seen.textContent = t("shownOf", shown.length, runs.length);
    const sets = new Set(shown.map((n) => runs[n].data).filter((data) => data !== null));
    mixed.hidden = sets.size < 2;
    mixed.textContent = t("severalSets", sets.size);
  };
  onChange(update);
  update();
  return bar;
}

function chooser(field, every, values, label = String) {
  const found = count(values.filter((value) => value !== null));
  if (found.length < 2) return null;
  const options = found.map(([value, n]) => [value, t("bracketed", label(value), n)]);
  return select(every, [["", every], ...options], state[field], (value) => change({ [field]: value }));
}

function foldBox() {
  const box = el("input", { type: "checkbox", checked: state.folded });
  box.addEventListener("change", () => change({ folded: box.checked }));
  return box;
}

function draw(most) {
  state.hidden.clear();
  const kept = new Set(drawnRows().slice(0, most).flatMap((row) => row.members));
  for (const row of rows()) for (const n of row.members) if (!kept.has(n)) state.hidden.add(n);
  change();
}
