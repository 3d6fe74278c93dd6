// Starts everything once; pages that htmx brings in are picked up by its events.

import { startFigures } from "./figures.js";
import { startLive } from "./live.js";
import { startTables } from "./tables.js";
import { startTheme } from "./theme.js";

function startCopying() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = document.getElementById(button.dataset.copy).textContent;
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Without a clipboard (plain http) the text is selected, ready for Ctrl-C.
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = label), 1600);
  });
}

function startMoving() {
  // After a boosted move the reader of the screen starts at the new page's title.
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target !== document.body) return;
    document.querySelector("main")?.focus({ preventScroll: true });
  });
  // A move that fails is made the plain way: the browser shows the error page, or its own.
  const plainly = (event) => {
    if (event.detail.boosted) location.assign(event.detail.pathInfo.requestPath);
  };
  document.addEventListener("htmx:responseError", plainly);
  document.addEventListener("htmx:sendError", plainly);
  // Menus that are open close when something else is pressed.
  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll("details.confirm[open]")) {
      if (!open.contains(event.target)) open.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const open of document.querySelectorAll("details.confirm[open]")) open.open = false;
  });
}

startTheme();
startFigures();
startLive();
startTables();
startCopying();
startMoving();
