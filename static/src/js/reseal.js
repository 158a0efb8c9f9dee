// Dialogs that give a VM new secrets: they are sealed for its host before the form is sent.
import { sealSecrets } from "./sealing.js";

const MOST_BYTES = 64 * 1024;

document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    if (!form.dataset.sealKey) return;
    const password = form.querySelector("[data-secret=password]");
    const script = form.querySelector("[data-secret=user_data]");
    const secrets = { password: password.value, userData: script?.value.trim() ? script.value : "" };
    if (!secrets.password && !secrets.userData) return;
    const problem = problemOf(password, secrets);
    if (problem) {
      event.preventDefault();
      event.stopImmediatePropagation();
      tell(...problem);
      return;
    }
    const { sealKey, sealPurpose } = form.dataset;
    form.querySelector("[name$=sealed]").value = sealSecrets(sealKey, secrets, sealPurpose);
    form.querySelector("[name$=sealed_holds]").value = [
      secrets.password && "password",
      secrets.userData && "user_data",
    ]
      .filter(Boolean)
      .join(" ");
    // What is disabled is not sent.
    for (const field of [password, script]) if (field) field.disabled = true;
  },
  { capture: true },
);

// Nobody can look at it later.
function problemOf(password, secrets) {
  if (secrets.password && secrets.password.length < 8) {
    return [password, "The password needs at least 8 characters."];
  }
  if (/\p{Cc}/u.test(secrets.password)) {
    return [password, "The password has a control character in it, which can't be typed at a login."];
  }
  if (new TextEncoder().encode(secrets.userData).length > MOST_BYTES) {
    const script = password.form.querySelector("[data-secret=user_data]");
    return [script, "The script has more than 64 KiB. Fetch the rest from your own server."];
  }
  return null;
}

function tell(field, message) {
  field.setCustomValidity(message);
  field.reportValidity();
  field.addEventListener("input", () => field.setCustomValidity(""), { once: true });
}
