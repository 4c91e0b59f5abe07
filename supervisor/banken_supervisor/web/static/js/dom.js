// Making and changing elements. Texts of workers become text nodes only: nothing here takes HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `props`: `class`, `on` ({event: listener}), `data` (data-*), everything else an attribute; null and
 * false are left out. Children: elements, texts, lists of them; null and false are left out. */
export function h(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") made.className = value;
    else if (key === "on") for (const [event, heard] of Object.entries(value)) made.addEventListener(event, heard);
    else if (key === "data") Object.assign(made.dataset, value);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  put(made, ...children);
  return made;
}

/** Append children to an element. */
export function put(parent, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : String(child));
  }
}

/** Replace what an element holds. */
export function fill(parent, ...children) {
  parent.replaceChildren();
  put(parent, ...children);
}

/** A picture of icons.svg; a decoration, since a text stands beside it or labels its button. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** Change the picture. */
export function setIcon(svg, name) {
  const wanted = `/static/icons.svg#${name}`;
  if (svg.firstChild.getAttribute("href") !== wanted) svg.firstChild.setAttribute("href", wanted);
}

/** Set a text, if it is another one: the browser has nothing to do otherwise. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show or hide. */
export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/** Call `what` after `wait` ms at the latest, once however often it is asked for; the first time at once. */
export function throttled(what, wait) {
  let timer = 0;
  let last = -Infinity;
  return () => {
    if (timer) return;
    const left = Math.max(0, last + wait - performance.now());
    timer = setTimeout(() => {
      timer = 0;
      last = performance.now();
      what();
    }, left);
  };
}
