// What all views share: elements, the address, the choices that a link holds.

/** An element; children that are no elements are shown as text, whatever they hold. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.flat());
  return made;
}

/** Change a text only where it differs: nothing else is laid out again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A name from outside: isolated, so that its direction of writing touches nothing beside it. */
export const name = (text) => el("bdi", { title: text }, text);

const DEFAULTS = { v: "all", s: "", i: "1m", h: "", r: "3", z: "UTC", q: "", o: "name", span: "7d" };

export const choices = { ...DEFAULTS };

export function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  Object.assign(choices, DEFAULTS, { z: choices.z }, Object.fromEntries(given));
  if (choices.s) choices.v = "one";
  return choices;
}

/** The address of this view with some choices changed. */
export function address(changes) {
  const wanted = { ...choices, ...changes };
  const kept = Object.entries(wanted).filter(([key, value]) => (key === "z" || value !== DEFAULTS[key]) && key !== "v");
  if (!wanted.s && wanted.v !== "all" && wanted.v !== "one") kept.push(["v", wanted.v]);
  return `#${new URLSearchParams(kept)}`;
}

/** Keep a choice in the address without a step in the history. */
export function choose(changes) {
  Object.assign(choices, changes);
  history.replaceState(null, "", address({}));
}

export const zone = () => (choices.z === "local" ? undefined : "UTC");

export function choice(label, options, value, onchange) {
  const list = options.map(([key, text]) => el("option", { value: key, selected: key === value }, text));
  return el("label", { class: "choice" }, el("span", {}, label),
    el("select", { onchange: (event) => onchange(event.target.value) }, list));
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
