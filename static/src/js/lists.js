// Choosing rows of a list for a bulk action.
export function installLists() {
  document.addEventListener("change", (event) => {
    const all = event.target.closest("[data-choose-all]");
    if (all) {
      for (const box of boxes()) box.checked = all.checked;
    }
    if (all || event.target.matches("[data-choose]")) refresh();
  });
  document.addEventListener("htmx:afterSettle", refresh);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && boxes().some((box) => box.checked)) {
      for (const box of boxes()) box.checked = false;
      refresh();
    }
  });
  refresh();
}

function boxes() {
  return [...document.querySelectorAll("[data-choose]")];
}

function refresh() {
  const bar = document.getElementById("bulk-bar");
  if (!bar) return;
  const count = boxes().filter((box) => box.checked).length;
  bar.hidden = count === 0;
  const label = bar.querySelector("[data-count]");
  if (label) label.textContent = `${count} chosen`;
  const all = document.querySelector("[data-choose-all]");
  if (all) {
    all.checked = count > 0 && count === boxes().length;
    all.indeterminate = count > 0 && count < boxes().length;
  }
}
