// The page: its state is the address (?q= or ?image=), so that the back button works and links can be shared.
import { get, latest, send } from "./api.js";
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

function show() {
  const state = new URLSearchParams(location.search);
  const [query, image] = [state.get("q") ?? "", state.get("image") ?? ""];
  if (!image) input.value = query;
  document.title = [query || image, label("title")].filter(Boolean).join(" · ");
  return display(() => (image ? imageView(image) : query.trim() ? queryView(query) : startView()));
}

async function display(makeView) {
  main.classList.add("busy");
  try {
    const view = await latest("page", makeView);
    words.replaceChildren();
    view.under();
    main.replaceChildren(...notices(), ...view.parts);
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
  const hint = about.uploads ? [element("span", "hint", label("upload"))] : [];
  const under = () => words.replaceChildren(element("span", "", label("examples")), ...examples, ...hint);
  return { parts: [samples], under };
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
  return similarView(answers, () => {
    const card = makeCard([image], 0, (id) => go({ image: id }));
    card.querySelector("details").open = true;
    return card;
  }, own);
}

// A picture of one's own is not in the address: it cannot be sent again after going back.
async function uploadView(file) {
  const answers = await Promise.all(
    about.models.map((_, model) => send(`/api/similar?${new URLSearchParams({ top: about.top, model })}`, file)),
  );
  const address = URL.createObjectURL(file);
  return similarView(answers, () => {
    const card = element("article", "card");
    const picture = element("img");
    picture.src = address;
    picture.alt = label("uploaded");
    card.append(element("div", "picture"), element("p", "id", label("uploaded")));
    card.firstChild.append(picture);
    return card;
  }, []);
}

function similarView(answers, makeChosen, own) {
  const parts = answers.flatMap((answer, model) => {
    const chosen = element("div", "chosen");
    const side = element("div");
    side.append(element("h2", "", titled("captions", model)), captionList(answer.captions, new Set(own)));
    chosen.append(makeChosen(), side);
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
addEventListener("dragover", (event) => {
  event.preventDefault(); // otherwise the browser opens the file
  document.body.classList.toggle("dropping", about?.uploads);
});
addEventListener("dragleave", () => document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const file = event.dataTransfer.files[0];
  if (file && about.uploads) display(() => uploadView(file));
});

about = await get("/api/about").catch((error) => {
  main.replaceChildren(element("p", "notice fault", error.message));
  throw error;
});
relabel();
show();
