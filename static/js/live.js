// Pages that refresh themselves: a tick every so often while someone looks, and a mark that says
// when the figures were last known to be right. Nothing is asked of a hidden tab.

const SLOWEST_MS = 30_000;
let updatedAt = Date.now();
let failures = 0;
let timer = 0;

function mark() {
  return document.querySelector("[data-live-every]");
}

// Someone reading (a selection) or about to press something in a table is not to be disturbed.
function isBusy() {
  const selection = getSelection();
  const main = document.querySelector("main");
  if (selection && !selection.isCollapsed && main?.contains(selection.anchorNode)) return true;
  const focused = document.activeElement;
  return Boolean(focused?.matches("table a, table button") && focused.matches(":focus-visible"));
}

function tick() {
  const element = mark();
  clearTimeout(timer);
  if (!element || document.hidden) return;
  if (!isBusy()) htmx.trigger(element, "tick");
  const wait = Number(element.dataset.liveEvery) * 2 ** Math.min(Math.max(failures - 1, 0), 4);
  timer = setTimeout(tick, Math.min(wait, Math.max(SLOWEST_MS, Number(element.dataset.liveEvery))));
}

function wait() {
  clearTimeout(timer);
  const element = mark();
  if (element) timer = setTimeout(tick, Number(element.dataset.liveEvery));
}

function ago(seconds) {
  if (seconds < 1) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min ago` : `${Math.floor(seconds / 3600)} h ago`;
}

function showAge() {
  const element = mark();
  const text = element?.querySelector("[data-age]");
  if (!text) return;
  const state = document.hidden ? "paused" : failures > 1 ? "away" : "live";
  element.dataset.state = state;
  const age = ago(Math.floor((Date.now() - updatedAt) / 1000));
  text.textContent = state === "away" ? `no answer, trying again; updated ${age}` : `updated ${age}`;
}

export function startLive() {
  document.addEventListener("visibilitychange", () => {
    showAge();
    if (!document.hidden) tick();
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.target !== mark()) return;
    failures = event.detail.successful ? 0 : failures + 1;
    if (event.detail.successful) updatedAt = Date.now();
    showAge();
  });
  // A page that htmx has brought in is new now and starts its own rhythm.
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target !== document.body) return;
    updatedAt = Date.now();
    failures = 0;
    wait();
    showAge();
  });
  setInterval(showAge, 1000);
  wait();
  showAge();
}
