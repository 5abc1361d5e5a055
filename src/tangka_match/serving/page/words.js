// Words of the query; pointing at one shows its heat map on every card.
import { get } from "./api.js";
import { element } from "./cards.js";
import { drawHeat, hideHeat } from "./heat.js";
import { label } from "./labels.js";

const found = new Map(); // attention by model, query and image
let active = null;

export function showWords(row, query, words) {
  row.replaceChildren(
    ...words.map((word, place) => makeWord(query, word, place)),
    element("span", "hint", label("hover")),
  );
}

function makeWord(query, word, place) {
  const chip = element("button", word.known ? "word" : "word unknown", word.text);
  chip.type = "button";
  if (!word.known) chip.title = label("unknown");
  const show = () => {
    active = place;
    for (const other of document.querySelectorAll(".word")) other.classList.toggle("active", other === chip);
    light(query, place);
  };
  const hide = () => {
    active = null;
    chip.classList.remove("active");
    document.querySelectorAll(".card canvas").forEach(hideHeat);
  };
  chip.addEventListener("mouseenter", show);
  chip.addEventListener("mouseleave", hide);
  chip.addEventListener("focus", show);
  chip.addEventListener("blur", hide);
  chip.addEventListener("click", show); // a touch screen has no pointer to hover with
  return chip;
}

// Cards are done one by one from the first, so that a long gallery does not delay the best answers.
async function light(query, place) {
  let strongest = 0; // effect of the word over the cards so far
  for (const card of document.querySelectorAll(".card[data-model]")) {
    if (active !== place) return;
    const attention = await attentionOf(query, card.dataset.image, card.dataset.model);
    if (active !== place) return;
    const weights = attention?.words[place]?.weights;
    const canvas = card.querySelector("canvas");
    if (!attention?.boxes || !weights?.some((weight) => weight > 0)) {
      hideHeat(canvas);
      continue;
    }
    const frame = canvas.parentElement;
    const effect = attention.words[place].effect;
    strongest = Math.max(strongest, effect ?? 0);
    const strength = effect === null ? 1 : effect / strongest;
    drawHeat(canvas, attention.boxes, weights, frame.clientHeight / frame.clientWidth, strength);
    const note = card.closest("section")?.querySelector(".note");
    if (note) note.textContent = attention.note;
  }
}

async function attentionOf(query, imageId, model) {
  const key = JSON.stringify([model, query, imageId]);
  if (!found.has(key)) {
    if (found.size > 500) found.clear();
    found.set(key, get("/api/attention", { q: query, image_id: imageId, model }).catch(() => null));
  }
  return found.get(key);
}
