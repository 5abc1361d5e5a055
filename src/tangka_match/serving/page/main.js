// The page: its state is the address (?q= or ?image=), so that the back button works and links can be shared.
import { get, latest } from "./api.js";
import { element, makeCard } from "./cards.js";
import { applyLabels, label, switchLanguage } from "./labels.js";
import { showWords } from "./words.js";

const form = document.getElementById("form");
const input = document.getElementById("query");
const words = document.getElementById("words");
const main = document.getElementById("main");
let about = null;

function go(values) {
  history.pushState(null, "", `/?${new URLSearchParams(values)}`);
  show();
}

async function show() {
  const state = new URLSearchParams(location.search);
  const [query, image] = [state.get("q") ?? "", state.get("image") ?? ""];
  if (!image) input.value = query;
  document.title = [query || image, label("title")].filter(Boolean).join(" · ");
  main.classList.add("busy");
  try {
    await latest("page", async () => {
      const view = image ? await imageView(image) : query.trim() ? await queryView(query) : startView();
      return view;
    }).then((view) => {
      words.replaceChildren();
      view.under();
      main.replaceChildren(...notices(), ...view.parts);
    });
  } catch (error) {
    if (error.name === "AbortError") return;
    words.replaceChildren();
    main.replaceChildren(element("p", "notice fault", error.message));
  }
  main.classList.remove("busy");
}

function startView() {
  const examples = about.examples.map((text) => {
    const chip = element("button", "example", text);
    chip.type = "button";
    chip.addEventListener("click", () => go({ q: text }));
    return chip;
  });
  const samples = gallery(label("samples"), about.samples, null);
  samples.querySelector(".gallery").classList.add("plain-cards");
  return { parts: [samples], under: () => words.replaceChildren(element("span", "", label("examples")), ...examples) };
}

async function queryView(query) {
  const answers = await Promise.all(
    about.models.map((_, model) => get("/api/search", { q: query, top: about.top, model })),
  );
  const columns = element("div", answers.length > 1 ? "columns two" : "columns");
  answers.forEach((answer, model) => {
    const other = answers[1 - model] ?? { results: [] };
    const ranks = new Map(other.results.map((image) => [image.image_id, image.rank]));
    columns.append(gallery(answers.length > 1 ? about.models[model].name : "", answer.results, model, ranks));
  });
  return { parts: [columns], under: () => showWords(words, query, answers[0].words) };
}

async function imageView(imageId) {
  const answers = await Promise.all(
    about.models.map((_, model) => get("/api/similar", { image_id: imageId, top: about.top, model })),
  );
  const { image, own_captions: own } = answers[0];
  const parts = answers.flatMap((answer, model) => {
    const chosen = element("div", "chosen");
    const side = element("div");
    side.append(element("h2", "", titled("captions", model)), captionList(answer.captions, new Set(own)));
    const card = makeCard([image], 0, (id) => go({ image: id }));
    card.querySelector("details").open = true;
    chosen.append(card, side);
    return [chosen, gallery(titled("similar", model), answer.results, null)];
  });
  return { parts, under: () => {} };
}

function titled(name, model) {
  return about.models.length > 1 ? `${label(name)} · ${about.models[model].name}` : label(name);
}

function gallery(title, results, model, others) {
  const section = element("section");
  if (title) section.append(element("h2", "", title));
  const cards = element("div", "gallery");
  results.forEach((_, place) => {
    const card = makeCard(results, place, (id) => go({ image: id }), others);
    if (model !== null) card.dataset.model = model; // only answers to a query have words to point at
    cards.append(card);
  });
  section.append(results.length ? cards : element("p", "", label("none")), element("p", "note"));
  return section;
}

function captionList(captions, own) {
  const list = element("ol", "captions");
  for (const found of captions) {
    const item = element("li", own.has(found.caption) ? "own" : "");
    const button = element("button", "", found.caption);
    button.type = "button";
    if (own.has(found.caption)) button.title = label("ownCaption");
    button.addEventListener("click", () => go({ q: found.caption.slice(0, input.maxLength) }));
    item.append(element("span", "", found.score.toFixed(3)), button);
    list.append(item);
  }
  return list;
}

function notices() {
  return about.pictures ? [] : [element("p", "notice", label("noPictures", about.thumbnail_folder))];
}

function relabel() {
  applyLabels();
  input.placeholder = label("placeholder");
  input.setAttribute("aria-label", label("placeholder"));
  document.getElementById("language").textContent = label("other");
  document.getElementById("set").textContent = label("set", about);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  go(input.value.trim() ? { q: input.value.trim() } : {});
});
document.getElementById("home").addEventListener("click", (event) => {
  event.preventDefault();
  go({});
});
document.getElementById("language").addEventListener("click", () => {
  switchLanguage();
  relabel();
  show();
});
addEventListener("popstate", show);

about = await get("/api/about").catch((error) => {
  main.replaceChildren(element("p", "notice fault", error.message));
  throw error;
});
relabel();
show();
