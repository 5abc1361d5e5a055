// Creation of elements. Text is inserted as text: data of a run are never parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Create an HTML element; properties starting with `on` are listeners; `data-*`, `aria-*` and `role` are attributes. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (/^(data-|aria-|role|for|colspan|scope)/.test(name)) element.setAttribute(name, value);
    else if (name === "style") Object.assign(element.style, value);
    else element[name] = value;
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Allow line breaks after the dots and underscores of a name. */
export function breakable(name) {
  return name.split(/(?<=[_.])/).flatMap((part) => [part, el("wbr")]);
}

/** Create an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Redraw an element when its width changes, so that text keeps its size; `draw(width)` returns the child. */
export function drawWide(element, draw) {
  let last = 0;
  const update = () => {
    if (element.clientWidth) element.replaceChildren(draw(element.clientWidth));
  };
  new ResizeObserver(() => {
    if (element.clientWidth !== last) update();
    last = element.clientWidth;
  }).observe(element);
  return update;
}

/** Create a `<select>` from `[value, label]` pairs. */
export function select(label, options, chosen, onchange) {
  const list = el("select", { "aria-label": label, onchange: () => onchange(list.value) });
  for (const [value, text] of options) list.append(el("option", { value, selected: value === chosen }, text));
  return list;
}

/** Show the tooltip at the pointer: lines of text, the first one bold. */
export function showTip(event, lines) {
  const tip = document.getElementById("tip");
  tip.replaceChildren(...lines.map((line, n) => el(n ? "div" : "b", {}, line)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(event.clientX + 14, window.innerWidth - width - 8);
  const above = event.clientY + 14 + height > window.innerHeight;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${above ? event.clientY - height - 10 : event.clientY + 14}px`;
}

/** Hide the tooltip. */
export function hideTip() {
  document.getElementById("tip").hidden = true;
}
