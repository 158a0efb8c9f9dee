// <button data-copy="text"> or <button data-copy-from="#id">.
export function installCopy() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (!button) return;
    event.preventDefault();
    event.stopPropagation();
    const source = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
    const text = source ? (source.value ?? source.textContent).trim() : button.dataset.copy;
    await copy(text);
    button.dataset.copied = "yes";
    say(`Copied ${text.length > 60 ? "it" : text}.`);
    setTimeout(() => delete button.dataset.copied, 1600);
  });
}

// The clipboard is for secure pages alone; a portal on a plain LAN address still copies.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

export function say(text) {
  const region = document.getElementById("announcer");
  if (region) region.textContent = text;
}
