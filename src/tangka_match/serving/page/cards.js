// Cards of the gallery. Texts are set as text, never as HTML.
import { pictureAddress } from "./api.js";
import { label } from "./labels.js";

const SVG = "http://www.w3.org/2000/svg";

export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

// `place`: index of the image in `results`; `others`: ranks of the other model by image id.
export function makeCard(results, place, onPick, others = new Map()) {
  const image = results[place];
  const card = document.getElementById("card").content.firstElementChild.cloneNode(true);
  card.dataset.image = image.image_id;
  card.querySelector(".picture").replaceWith(makePicture(image, onPick));
  card.querySelector(".rank").textContent = image.rank;
  const score = card.querySelector(".score");
  score.textContent = image.score.toFixed(3);
  score.title = label("score");
  const next = results[place + 1];
  const gap = card.querySelector(".gap");
  if (others.has(image.image_id)) gap.textContent = label("alsoAt", others.get(image.image_id));
  else if (next) gap.textContent = label("gap", (image.score - next.score).toFixed(3));
  card.querySelector(".measure i").style.width = `${share(results, place)}%`;
  card.querySelector("summary").textContent = label("caption");
  card.querySelector(".id").textContent = image.image_id;
  card.querySelector(".caption").textContent = image.caption;
  return card;
}

export function makePicture(image, onPick) {
  const button = element("button", "picture");
  button.type = "button";
  button.title = label("searchWith");
  button.setAttribute("aria-label", `${image.image_id}: ${label("searchWith")}`);
  button.addEventListener("click", () => onPick(image.image_id));
  if (image.picture) {
    const picture = element("img");
    picture.src = pictureAddress(image.image_id);
    picture.alt = image.image_id;
    picture.loading = "lazy";
    button.append(picture);
  } else button.append(drawBoxes(image.boxes ?? []), element("span", "name", image.image_id));
  button.append(element("canvas"));
  return button;
}

function drawBoxes(boxes) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 100 125");
  for (const [left, top, right, bottom] of boxes) {
    const box = document.createElementNS(SVG, "rect");
    const edges = { x: 100 * left, y: 125 * top, width: 100 * (right - left), height: 125 * (bottom - top) };
    for (const [name, value] of Object.entries(edges)) box.setAttribute(name, value);
    drawing.append(box);
  }
  return drawing;
}

// Length of the bar: the score between the lowest one shown and the best one.
function share(results, place) {
  const scores = results.map((image) => image.score);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  return high > low ? 12 + (88 * (results[place].score - low)) / (high - low) : 100;
}
