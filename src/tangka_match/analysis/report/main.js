// Builds the page, and rebuilds it when the language changes.

import { currentLanguage, setLanguage } from "../language.js";
import { buildCompare, chooseTwoBest } from "./compare.js";
import { report } from "./data.js";
import { el } from "./dom.js";
import { buildCurves } from "./lines.js";
import { buildSettings } from "./settings.js";
import { clearListeners } from "./state.js";
import { buildTable } from "./table.js";
import { buildFilters, buildHeader } from "./toolbar.js";

function build() {
  clearListeners();
  const parts = [buildHeader(switchLanguage), buildFilters(), buildTable()];
  if (report.curves.length) parts.push(buildCurves());
  parts.push(buildSettings(), buildCompare());
  document.getElementById("page").replaceChildren(el("main", {}, parts), el("div", { id: "tip", hidden: true }));
  document.documentElement.dataset.ready = currentLanguage();
}

function switchLanguage(name) {
  setLanguage(name);
  build();
}

chooseTwoBest();
switchLanguage(currentLanguage());
