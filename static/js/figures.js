// Draws every [data-figure] from the JSON block it names, and draws it again when its data, the
// theme or its width changes. Plotly.react keeps the figure in place: no flash, no reflow.

import { dress, makePalette } from "./dress.js";

const drawnSize = new WeakMap();
const drawnText = new WeakMap();
const resizes = new ResizeObserver((entries) => {
  const changed = entries
    .map((entry) => entry.target)
    .filter((element) => sizeOf(element) !== drawnSize.get(element));
  if (changed.length) draw(changed);
});

function sizeOf(element) {
  return `${Math.round(element.clientWidth)} x ${Math.round(element.clientHeight)}`;
}

function draw(elements) {
  if (!window.Plotly) return;
  const palette = makePalette();
  for (const element of elements) {
    const source = document.getElementById(element.dataset.figure);
    const width = Math.round(element.clientWidth);
    if (!source || !width) continue;
    const figure = JSON.parse(source.textContent);
    if (figure.layout.meta.rows !== undefined) element.style.setProperty("--rows", figure.layout.meta.rows);
    const { data, layout, config } = dress(figure, width, palette);
    layout.width = width;
    layout.height = element.clientHeight;
    drawnSize.set(element, sizeOf(element));
    drawnText.set(element, source.textContent);
    window.Plotly.react(element, data, layout, config);
  }
  palette.done();
}

function all() {
  return [...document.querySelectorAll("[data-figure]")];
}

function drawChanged() {
  const changed = all().filter((element) => {
    const source = document.getElementById(element.dataset.figure);
    return source && source.textContent !== drawnText.get(element);
  });
  if (changed.length) draw(changed);
  for (const element of changed) resizes.observe(element);
}

export function startFigures() {
  document.addEventListener("themechange", () => draw(all()));
  document.addEventListener("htmx:afterSettle", drawChanged);
  document.addEventListener("htmx:oobAfterSwap", drawChanged);
  document.addEventListener("htmx:beforeCleanupElement", (event) => {
    if (event.target.dataset?.figure) {
      resizes.unobserve(event.target);
      window.Plotly?.purge(event.target);
    }
  });
  addEventListener("beforeprint", () => draw(all()));
  drawChanged();
}
