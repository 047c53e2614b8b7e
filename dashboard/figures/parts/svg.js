// Shared by the pictures that the browser draws: SVG elements, and whether the reader asked for less motion.

const SVG = "http://www.w3.org/2000/svg";

function draw(parent, name, attributes = {}, text) {
  const element = document.createElementNS(SVG, name);
  set(element, attributes);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
