// Light, dark, or as the system says. The choice is this browser's own.
const KEY = "basalt-theme";
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function chosen() {
  try {
    return localStorage.getItem(KEY) || "auto";
  } catch {
    return "auto";
  }
}

function apply() {
  const choice = chosen();
  const theme = choice === "auto" ? (dark.matches ? "dark" : "light") : choice;
  document.documentElement.dataset.bsTheme = theme;
  document.documentElement.dataset.themeChoice = choice;
}

apply();
dark.addEventListener("change", apply);
window.addEventListener("storage", apply);
window.basaltTheme = {
  choose(choice) {
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // A browser that keeps nothing still gets the theme for this page.
    }
    apply();
    if (chosen() !== choice) document.documentElement.dataset.bsTheme = choice;
  },
};
