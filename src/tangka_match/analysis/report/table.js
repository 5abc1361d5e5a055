// Table of runs: sortable columns, grouped seeds, details below a row.

import { dataName, report, runs, settingOf } from "./data.js";
import { breakable, el } from "./dom.js";
import { duration, metricText, moment, number, setting, signed } from "./format.js";
import { change, makeRow, onChange, rows, state, toggleRow, verdictOf } from "./state.js";
import { metricLabel, statusHelp, statusText, t } from "./words.js";

/** Rows per batch; the next batch is rendered when the last row scrolls into view. */
const BATCH = 100;
const SHOWN_METRICS = ["mean_r1", "i2t_r1", "t2i_r1", "rsum"];

const several = (field) => new Set(runs.map((run) => run[field])).size > 1;
const SEVERAL = { sweep: several("sweep"), data: several("data"), code: several("code") };

/** Build the section with the table and the column selection. */
export function buildTable() {
  const table = el("table", { className: "runs" });
  let most = BATCH;
  const scroller = el("div", { className: "scroll" }, table);
  const frame = el("div", { className: "frame" }, scroller);
  const hint = el("span", { className: "hint more", hidden: true }, t("moreColumns"));
  const cut = () => showCut(frame, scroller, hint);
  scroller.addEventListener("scroll", cut);
  new ResizeObserver(cut).observe(scroller);
  new ResizeObserver(cut).observe(table);
  const more = new IntersectionObserver(([last]) => {
    if (!last.isIntersecting) return;
    most += BATCH;
    update();
  });
  const update = () => {
    const shown = rows();
    table.replaceChildren(head(), body(shown.slice(0, most)));
    more.disconnect();
    if (shown.length > most) more.observe(table.tBodies[0].lastElementChild);
  };
  onChange(update);
  update();
  return el(
    "section",
    {},
    el("div", { className: "line" }, el("h2", {}, t("runs")), hint, columnChoice()),
    frame,
  );
}

/** Show the hint and a shade on the right while columns are hidden there; the scrollbars of some systems are invisible. */
function showCut(frame, scroller, hint) {
  const isCut = scroller.scrollLeft + scroller.clientWidth < scroller.scrollWidth - 2;
  frame.classList.toggle("cut", isCut);
  hint.hidden = !isCut;
}

function columnChoice() {
  if (!report.columns.length) return null;
  const boxes = report.columns.map(({ key, name }) => {
    const box = el("input", { type: "checkbox", checked: state.columns.has(key) });
    box.addEventListener("change", () => {
      if (box.checked) state.columns.add(key);
      else state.columns.delete(key);
      change();
    });
    return el("label", { className: "check", title: key }, box, name);
  });
  return el("details", { className: "choice" }, el("summary", {}, `${t("columns")} …`), el("div", {}, boxes));
}

function seedCell(row) {
  if (row.pooled) return t("folds", row.pooled[0].folds) + (row.pooled.length > 1 ? ` × ${t("seeds", row.pooled.length)}` : "");
  return row.isFolded ? t("seeds", row.members.length) : number(row.first.seed);
}

function columns() {
  return [
    { key: "id", label: t("run"), cell: nameCell },
    { key: "status", label: t("status"), cell: statusCell },
    ...(SEVERAL.sweep ? [{ key: "sweep", label: t("sweep"), cell: (row) => row.first.sweep ?? "–" }] : []),
    ...(SEVERAL.data
      ? [{ key: "data", label: t("data"), cell: (row) => dataName(row.first) }]
      : []),
    ...(SEVERAL.code ? [{ key: "code", label: t("code"), title: t("codeHelp"), cell: (row) => codeCell(row.first) }] : []),
    ...report.columns
      .filter(({ key }) => state.columns.has(key))
      .map(({ key, name }) => ({ key: `setting:${key}`, label: name, title: key, cell: (row) => settingText(row.setting(key)), isNumber: true })),
    { key: "seed", label: t("seed"), cell: seedCell, isNumber: true },
    ...SHOWN_METRICS.map((name) => ({ key: `metric:${name}`, label: metricLabel(name), cell: (row) => metricCell(row, name), isNumber: true, isBestHigh: true })),
    ...(report.verdicts.length ? [{ key: "verdict", label: t("vsBest"), cell: verdictCell }] : []),
    { key: "total:steps", label: t("steps"), cell: (row) => number(row.total("steps"), 4), isNumber: true, isBestHigh: true },
    { key: "total:seconds", label: t("time"), cell: (row) => duration(row.total("seconds")), isNumber: true },
    { key: "started", label: t("started"), cell: (row) => moment(row.first.started), isBestHigh: true },
  ];
}

function head() {
  const cells = columns().map((column) => {
    const isSorted = state.sort.key === column.key;
    const order = isSorted ? (state.sort.down ? "descending" : "ascending") : "none";
    const sort = () => change({ sort: { key: column.key, down: isSorted ? !state.sort.down : Boolean(column.isBestHigh) } });
    return el(
      "th",
      { scope: "col", "aria-sort": order, className: column.isNumber ? "number" : "", title: column.title ?? "" },
      el("button", { type: "button", "data-sort": column.key, onclick: sort }, breakable(column.label), el("i", {}, isSorted ? (state.sort.down ? " ▼" : " ▲") : "")),
    );
  });
  return el("thead", {}, el("tr", {}, el("th", {}), cells));
}

function body(shown) {
  const columnsOf = columns();
  const lines = shown.flatMap((row) => [line(row, false, columnsOf), ...below(row, columnsOf)]);
  if (!lines.length) lines.push(el("tr", {}, el("td", { colspan: 99, className: "empty" }, t("noRuns"))));
  return el("tbody", {}, lines);
}

function below(row, columnsOf) {
  if (!row.isFolded) return state.detailed.has(row.key) ? [detail(row.first)] : [];
  if (!state.opened.has(row.key)) return [];
  return row.members.flatMap((n) => {
    const inner = makeRow(`r${n}`);
    return [line(inner, true, columnsOf), ...below(inner, columnsOf)];
  });
}

function line(row, isInner, columnsOf) {
  const isHidden = row.members.every((n) => state.hidden.has(n));
  const swatch = el("button", {
    type: "button",
    className: isHidden ? "swatch off" : "swatch",
    title: t("toggle"),
    "aria-label": t("toggle"),
    "aria-pressed": !isHidden,
    style: { color: row.colour },
    onclick: () => toggleRow(row),
  });
  const picks = ["a", "b"].map((side) =>
    el(
      "button",
      { type: "button", className: "pick", "data-side": side, title: t("compareAs", side.toUpperCase()), "aria-pressed": state[side] === row.key, onclick: () => change({ [side]: row.key }) },
      side.toUpperCase(),
    ),
  );
  const cells = columnsOf.map((column) => el("td", { className: column.isNumber ? "number" : "" }, column.cell(row)));
  const name = [isInner ? "inner" : "", isHidden ? "off" : ""].filter(Boolean).join(" ");
  return el("tr", { className: name, "data-row": row.key }, el("td", { className: "tools" }, swatch, picks), cells);
}

function nameCell(row) {
  const set = row.isFolded ? state.opened : state.detailed;
  const isOpen = set.has(row.key);
  const toggle = () => {
    if (isOpen) set.delete(row.key);
    else set.add(row.key);
    change();
  };
  const words = { type: "button", className: "name", title: t(row.isFolded ? "unfold" : "details"), "aria-expanded": isOpen, onclick: toggle };
  const trouble = row.members.some((n) => runs[n].skipped || runs[n].problems.length);
  return [
    el("button", words, el("i", {}, isOpen ? "▾ " : "▸ "), row.isFolded ? row.first.name || row.first.id : row.first.id),
    row.isFolded ? el("span", { className: "times" }, ` ×${row.members.length}`) : el("div", { className: "sub" }, [row.first.name, row.first.job === null ? null : t("job", row.first.job)].filter(Boolean).join(" · ")),
    trouble ? el("span", { className: "status damaged" }, "!") : null,
  ];
}

/** Return the short commit and, below it, the short hash of the source files, which differs for modified checkouts. */
function codeCell(run) {
  const commit = (run.commit ?? "").slice(0, 7) || "–";
  const isDirty = (run.commit ?? "").endsWith("+dirty");
  return [isDirty ? `${commit}+` : commit, el("div", { className: "sub" }, (run.code ?? "") === run.commit ? "" : (run.code ?? "").slice(0, 6))];
}

function statusCell(row) {
  const counts = new Map();
  for (const n of row.members) counts.set(runs[n].status, (counts.get(runs[n].status) ?? 0) + 1);
  return [...counts].map(([status, count]) =>
    el("span", { className: `status ${status}`, title: statusHelp(status) }, counts.size > 1 ? `${count} ${statusText(status)}` : statusText(status)),
  );
}

function settingText(value) {
  return value?.varied ? t("varied", value.varied) : setting(value);
}

function metricCell(row, name) {
  const spread = row.spread(name);
  const ends = row.interval(name);
  const text = metricText(name, row.metric(name));
  const digits = name === "rsum" ? 0 : 1;
  const few = name === "mean_r1" && row.counted.length < row.members.length ? ` (n = ${row.counted.length})` : "";
  const below = spread !== null ? `± ${spread.toFixed(2)}${few}` : ends ? `${ends[0].toFixed(digits)}–${ends[1].toFixed(digits)}` : "";
  return [el("span", { className: name === "mean_r1" ? "main" : "" }, text), el("div", { className: "sub" }, below)];
}

function verdictCell(row) {
  const found = verdictOf(row);
  if (!found) return "–";
  if (found.best) return el("b", {}, t("best"));
  if (!found.difference) return el("span", { title: found.reason }, "–");
  const words = found.better === null ? "tied" : found.better === "a" ? "worse" : "better";
  const difference = found.difference.difference;
  return [el("span", { className: `verdict ${words}` }, t(words)), el("div", { className: "sub" }, signed(difference))];
}

function phasesText(run) {
  const shares = Object.entries(run.phases).map(([phase, share]) => `${t(`phase ${phase}`)} ${share} %`);
  if (run.gpuBusy !== null) shares.push(t("gpuBusy", run.gpuBusy));
  if (run.peakMemory !== null) shares.push(t("peakMemory", number(run.peakMemory)));
  return shares.join(t("listSeparator"));
}

function detail(run) {
  const rowsOf = [
    [t("status"), `${statusText(run.status)}${t("colon")}${statusHelp(run.status)}`],
    [t("folder"), el("a", { href: run.href }, run.path)],
    [t("command"), run.command],
    [t("overrides"), run.overrides.join("  ")],
    [t("tags"), run.tags.join(", ")],
    [t("commit"), run.commit],
    [t("bestStep"), run.bestStep === null ? null : `${number(run.bestStep, 4)} / ${number(run.steps, 4)}`],
    [t("stepTime"), run.stepSeconds === null ? null : duration(run.stepSeconds)],
    [t("phases"), phasesText(run)],
    [t("parameters"), run.parameters === null ? null : number(run.parameters)],
    [t("queries"), run.queries === null ? null : t("imagesCaptions", ...run.queries.map((n) => number(n, 4)))],
    ...run.verdicts.map(([code, message]) => [`${t("guard")}${t("colon")}${code}`, message]),
    [t("unreadable"), [...run.problems, ...(run.skipped ? [t("skipped", run.skipped)] : [])].join(t("listSeparator"))],
  ];
  const listed = rowsOf.filter(([, value]) => value).flatMap(([label, value]) => [el("dt", {}, label), el("dd", {}, value)]);
  return el("tr", { className: "detail" }, el("td", { colspan: 99 }, el("dl", {}, listed)));
}
