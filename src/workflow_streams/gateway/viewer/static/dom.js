/** Builds elements. Data of streams is only ever inserted as text; nothing here parses markup. */

const SVG = "http://www.w3.org/2000/svg";

/** Return the element with this id; throw if the page has none. */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`The page has no element ${id}.`);
  return found;
}

/** Make an element: attributes by name (null or false leaves one out), children or text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  setAll(element, attributes);
  element.append(...children);
  return element;
}

/** Make one of the icons that the page defines. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

export function setAll(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Set an element's text if it differs, so that screen readers hear only changes. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Return a function that calls `draw` once in the next frame, however often it is called. */
export function oncePerFrame(draw) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    const run = () => {
      if (!due) return;
      due = false;
      draw();
    };
    // A hidden page gets no frames, but has to be up to date when it is shown again.
    if (document.hidden) setTimeout(run, 100);
    else requestAnimationFrame(run);
  };
}
