// Builds the page to look through the pairs: filters, cards, and the bar that saves the list.

import { currentLanguage, setLanguage } from "../../language.js";
import { el } from "../../report/dom.js";
import { data, excludeLines, isStruck, strike } from "./choice.js";
import { t } from "./words.js";

const FILE = "exclude.txt";
let reason = "all";
let wanted = "";

function percent(share) {
  return (100 * share).toFixed(share < 0.0995 ? 1 : 0);
}

function certainty(probability) {
  return probability > 0.99 ? "> 99" : percent(probability);
}

function belongs(row, name) {
  if (name === "all") return true;
  if (name === "struck") return isStruck(row);
  return name === "none" ? row.reasons.length === 0 : row.reasons.includes(name);
}

function shownRows() {
  const matches = (row) => !wanted || `${row.id} ${row.caption}`.toLowerCase().includes(wanted);
  return data.rows.filter((row) => belongs(row, reason) && matches(row));
}

function header() {
  const share = t(data.usable ? "share" : "weak", percent(data.share));
  const button = (name, label) =>
    el("button", { type: "button", "aria-pressed": String(currentLanguage() === name), onclick: () => build(name) }, label);
  return el("header", { className: "top" },
    el("h1", {}, t("title", data.name)),
    el("div", { className: "switch" }, button("en", "English"), button("zh", "中文")),
    el("p", { className: "about" }, t("about", data.rows.length, data.total.toLocaleString("en")), " ", share));
}

function filters() {
  const names = ["all", ...data.reasons, "none", "struck"];
  const chip = (name) => {
    const count = data.rows.filter((row) => belongs(row, name)).length;
    const choose = () => { reason = name; refresh(); };
    const pressed = String(name === reason);
    return el("button", { type: "button", className: "chip", "data-reason": name, "aria-pressed": pressed, onclick: choose },
      t(name), el("b", {}, count));
  };
  const find = (event) => { wanted = event.target.value.trim().toLowerCase(); list(); };
  return el("div", { className: "filters" },
    el("div", { className: "chips" }, names.map(chip)),
    el("input", { type: "search", value: wanted, placeholder: t("search"), "aria-label": t("search"), oninput: find }),
    el("span", { className: "shown" }));
}

function picture(image, id) {
  const url = data.pictures[image];
  if (url) return el("img", { src: url, alt: id, loading: "lazy" });
  return el("div", { className: "blank", "aria-hidden": "true" }, id);
}

function rankLine(direction, row) {
  const at = row.gallery > 1 ? (100 * (row[direction] - 1)) / (row.gallery - 1) : 0;
  const far = Math.min(at, 100);
  return el("div", { className: "rank" },
    el("span", {}, t(direction)), el("b", {}, t("rank", row[direction], row.gallery)),
    el("i", { className: "track" }, el("i", { style: { left: `${far}%` } })));
}

function rival(title, found, pictured) {
  return el("div", { className: "rival" },
    pictured && data.pictures[found.image] ? picture(found.image, found.id) : null,
    el("div", {}, el("h3", {}, title), el("p", {}, found.caption), el("small", {}, found.id)));
}

function duplicates(row) {
  if (!row.duplicates.length) return null;
  const named = row.duplicates.join(currentLanguage() === "zh" ? "、" : ", ");
  const all = row.more_duplicates ? t("more", named, row.more_duplicates) : named;
  return el("p", { className: "note" }, t("duplicates", all));
}

function card(row) {
  const box = el("input", { type: "checkbox", checked: isStruck(row) });
  const article = el("article", { className: "pair card", "data-line": row.line },
    el("figure", {}, picture(row.image, row.id), el("figcaption", {}, row.id)),
    el("div", { className: "said" },
      el("p", { className: "badges" },
        row.reasons.map((name) => el("span", { className: "badge", "data-reason": name }, t(name))),
        el("span", { className: "probability" }, t("mismatch", certainty(row.probability)))),
      el("p", { className: "caption" }, row.caption),
      el("div", { className: "ranks" }, rankLine("i2t", row), rankLine("t2i", row)),
      duplicates(row)),
    el("div", { className: "rivals" },
      rival(t("betterCaption"), row.better_caption, false), rival(t("betterImage"), row.better_image, true)),
    el("label", { className: "strike" }, box, t("strike")));
  const mark = () => article.classList.toggle("struck", isStruck(row));
  box.addEventListener("change", () => { strike(row, box.checked); mark(); counts(); });
  mark();
  return article;
}

function list() {
  const rows = shownRows();
  const cards = rows.length ? rows.map(card) : [el("p", { className: "note" }, t("nothing"))];
  document.querySelector(".list").replaceChildren(...cards);
  document.querySelector(".shown").textContent = t("shown", rows.length);
}

function counts() {
  const lines = excludeLines();
  const hidden = data.kept.length ? t("kept", data.kept.length) : "";
  document.querySelector(".bar .count").textContent = t("count", lines.length) + hidden;
  document.querySelector(".bar .save").disabled = !lines.length;
  document.querySelector('.chip[data-reason="struck"] b').textContent = data.rows.filter(isStruck).length;
}

function save() {
  const url = URL.createObjectURL(new Blob([`${excludeLines().join("\n")}\n`], { type: "text/plain" }));
  el("a", { href: url, download: FILE }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function setAll(rows, struck) {
  for (const row of rows) strike(row, struck);
  refresh();
}

function bar() {
  return el("div", { className: "bar" },
    el("span", { className: "count" }), el("span", { className: "use" }, t("use")),
    el("button", { type: "button", onclick: () => setAll(shownRows(), true) }, t("strikeShown")),
    el("button", { type: "button", onclick: () => setAll(data.rows, false) }, t("clear")),
    el("button", { type: "button", className: "save", onclick: save }, t("save")));
}

function refresh() {
  document.querySelector(".filters").replaceWith(filters());
  list();
  counts();
}

function build(language) {
  setLanguage(language);
  document.title = t("title", data.name);
  const main = el("main", {}, header(), filters(), el("div", { className: "list" }), bar());
  document.getElementById("page").replaceChildren(main);
  list();
  counts();
  document.documentElement.dataset.ready = language;
}

build(currentLanguage());
