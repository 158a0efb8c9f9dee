// The three buttons that choose light, dark or the system's theme.
export function installThemeSwitch() {
  const buttons = [...document.querySelectorAll("[data-theme]")];
  function show() {
    const choice = document.documentElement.dataset.themeChoice;
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.theme === choice));
    }
  }
  for (const button of buttons) {
    button.addEventListener("click", (event) => {
      event.stopPropagation();
      window.basaltTheme.choose(button.dataset.theme);
      show();
    });
  }
  show();
}
