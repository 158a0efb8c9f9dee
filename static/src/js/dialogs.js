// <button data-dialog="id"> opens <dialog id="id">; [data-close] in it closes it.
// A field with data-must-equal keeps its form's [data-needs-match] button off until it matches.
export function installDialogs() {
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-dialog]");
    if (opener) {
      event.preventDefault();
      open(document.getElementById(opener.dataset.dialog));
      return;
    }
    const dialog = event.target.closest("dialog");
    if (!dialog) return;
    if (event.target.closest("[data-close]") || event.target === dialog) dialog.close();
  });

  document.addEventListener("input", (event) => {
    const field = event.target.closest("[data-must-equal]");
    if (!field) return;
    const button = field.form.querySelector("[data-needs-match]");
    button.disabled = field.value.trim() !== field.dataset.mustEqual;
  });

  for (const dialog of document.querySelectorAll("dialog[data-open-at-once]")) open(dialog);

  // One click, one request: a second press of the same button does nothing.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented || form.dataset.sent) {
      if (form.dataset.sent) event.preventDefault();
      return;
    }
    if (form.hasAttribute("hx-post") || form.closest("[hx-boost=true]")) return;
    form.dataset.sent = "yes";
    event.submitter?.classList.add("btn-loading");
    // Back to this page from the browser's cache: the form works again.
    window.addEventListener("pageshow", () => reset(form), { once: true });
  });
}

function reset(form) {
  delete form.dataset.sent;
  for (const button of form.querySelectorAll(".btn-loading")) {
    button.classList.remove("btn-loading");
  }
}

function open(dialog) {
  if (!dialog || dialog.open) return;
  dialog.showModal();
  dialog.querySelector("[autofocus]")?.focus();
}
