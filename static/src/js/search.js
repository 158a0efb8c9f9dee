// Ctrl-K: search everything. Arrows choose, Enter opens, Ctrl+Enter opens the console.
export function installSearch(htmx) {
  const dialog = document.getElementById("search");
  if (!dialog) return;
  const field = dialog.querySelector("input");
  const results = dialog.querySelector("#search-results");

  function open() {
    if (dialog.open) return;
    dialog.showModal();
    field.select();
    htmx.trigger(field, "search-opened");
  }

  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open();
    } else if (event.key === "/" && !typing(event.target)) {
      event.preventDefault();
      open();
    }
  });
  for (const button of document.querySelectorAll("[data-search]")) {
    button.addEventListener("click", open);
  }

  dialog.addEventListener("keydown", (event) => {
    const options = [...results.querySelectorAll("[role=option]")];
    const at = options.findIndex((option) => option.ariaSelected === "true");
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      choose(options, (at + step + options.length) % options.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      const option = options[Math.max(at, 0)];
      if (!option) return;
      const consoleAddress = option.dataset.console;
      const address = option.dataset.href;
      window.location.href = event.ctrlKey || event.metaKey ? consoleAddress || address : address;
    }
  });
  results.addEventListener("click", (event) => {
    if (event.target.closest("a")) return;
    const option = event.target.closest("[role=option]");
    if (option) window.location.href = option.dataset.href;
  });
  results.addEventListener("htmx:afterSettle", () => {
    choose([...results.querySelectorAll("[role=option]")], 0);
  });

  function choose(options, index) {
    options.forEach((option, position) => {
      option.ariaSelected = position === index ? "true" : "false";
    });
    const chosen = options[index];
    if (chosen) {
      field.setAttribute("aria-activedescendant", chosen.id);
      chosen.scrollIntoView({ block: "nearest" });
    } else {
      field.removeAttribute("aria-activedescendant");
    }
  }
}

function typing(target) {
  return target.closest?.("input, textarea, select, [contenteditable], canvas") !== null;
}
