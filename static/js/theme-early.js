// Runs before the first paint, so that the chosen theme never flashes. "system" sets nothing.
(function () {
  try {
    const chosen = localStorage.getItem("costboard-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage may be forbidden; the system's theme is then the theme.
  }
})();
