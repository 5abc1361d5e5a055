// Section on settings and results: parallel coordinates, importance, scatter plots, recalls.

import { buildBars } from "./bars.js";
import { report } from "./data.js";
import { el, select } from "./dom.js";
import { buildImportance } from "./importance.js";
import { buildParallel } from "./parallel.js";
import { buildPareto, buildScatter } from "./scatter.js";
import { change, state } from "./state.js";
import { metricLabel, t } from "./words.js";

/** Build the section. */
export function buildSettings() {
  const options = report.metrics.map((name) => [name, metricLabel(name)]);
  const result = select(t("result"), options, state.result, (value) => change({ result: value }));
  return el(
    "section",
    { className: "later" },
    el("div", { className: "line" }, el("h2", {}, t("settings")), el("label", {}, `${t("result")} `, result)),
    buildParallel(),
    el("div", { className: "three" }, buildImportance(), buildScatter(), buildPareto()),
    buildBars(),
  );
}
