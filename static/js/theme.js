// The light / system / dark switch. Figures listen for "themechange".

const KEY = "costboard-theme";

function chosen() {
  return document.documentElement.dataset.theme ?? "system";
}

function showChoice() {
  for (const button of document.querySelectorAll("[data-choose-theme]")) {
    button.setAttribute("aria-pressed", String(button.dataset.chooseTheme === chosen()));
  }
}

function choose(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  showChoice();
  document.dispatchEvent(new CustomEvent("themechange"));
}

export function startTheme() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-choose-theme]");
    if (button) choose(button.dataset.chooseTheme);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    if (chosen() === "system") document.dispatchEvent(new CustomEvent("themechange"));
  });
  document.addEventListener("htmx:afterSettle", showChoice);
  showChoice();
}
