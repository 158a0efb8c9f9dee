// A file on its way, with how far it is. Without scripts the form is sent as usual.
import { say } from "./copy.js";
import { showFirstError } from "./errors.js";
import { present } from "./presence.js";

export function installUpload() {
  document.addEventListener(
    "submit",
    (event) => {
      const form = event.target.closest("form[data-upload]");
      const file = form?.querySelector("input[type=file]");
      if (!file?.files.length) return;
      event.preventDefault();
      event.stopPropagation();
      send(form, file.files[0]);
    },
    { capture: true },
  );
}

function send(form, file) {
  const box = form.querySelector("[data-upload-progress]");
  const bar = box.querySelector("[role=progressbar]");
  const text = box.querySelector("[data-upload-text]");
  const button = form.querySelector("[type=submit]");
  const request = new XMLHttpRequest();
  box.hidden = false;
  button.disabled = true;
  request.upload.addEventListener("progress", (event) => {
    present();
    if (!event.lengthComputable) return;
    const percent = Math.floor((event.loaded / event.total) * 100);
    bar.style.width = `${percent}%`;
    bar.setAttribute("aria-valuenow", percent);
    text.textContent =
      percent === 100
        ? "Checking the image…"
        : `${percent} % of ${(file.size / 2 ** 20).toFixed(0)} MiB sent`;
  });
  request.addEventListener("load", () => {
    const answer = new DOMParser().parseFromString(request.responseText, "text/html");
    const fresh = answer.querySelector("form[data-upload]");
    if (request.status < 400 || !fresh) {
      window.location.href = request.status < 400 ? request.responseURL : window.location.href;
      return;
    }
    // The same form with the reasons in it; the file that was chosen stays chosen.
    fresh.querySelector("input[type=file]").replaceWith(form.querySelector("input[type=file]"));
    form.replaceWith(fresh);
    showFirstError();
  });
  request.addEventListener("error", () => {
    button.disabled = false;
    text.textContent =
      "The connection broke before the file had arrived. Check the network and send it again.";
    say(text.textContent);
  });
  request.open("POST", form.action || window.location.href);
  request.send(new FormData(form));
}
