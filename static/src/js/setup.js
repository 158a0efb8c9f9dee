// The form that asks for a VM: secrets are sealed before they are sent, and never previewed by
// the portal.
import { parseDocument } from "yaml";
import { showFirstError } from "./errors.js";
import { sealSecrets } from "./sealing.js";

// As agent/protocol/templates.py has it.
const VARIABLE = /\\\{\{|\{\{[ \t]*([A-Za-z_][A-Za-z0-9_.]{0,62})[ \t]*\}\}/g;
const JINJA = "## template: jinja";
const MOST_BYTES = 64 * 1024;

let sending = false;
const theForm = () => document.querySelector("form[data-seal]");
const field = (name) => theForm().elements[name];
const secretScript = () => (field("readable").checked ? "" : field("user_data").value);

document.addEventListener("submit", (event) => {
  if (event.target !== theForm()) return;
  const secrets = { password: field("password").value, userData: secretScript() };
  if (!secrets.password && !secrets.userData.trim()) return;
  event.preventDefault();
  if (sending) return;
  tell("password", null);
  tell("user_data", null);
  const problem = problemOfPassword(secrets.password) ?? problemOfScript(secrets.userData);
  if (problem) {
    ready();
    tell(...problem);
  } else send(sealed(new FormData(theForm()), secrets), secrets);
});
document.addEventListener("htmx:configRequest", leaveSecretsOut);
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id === "vm-preview") showSecretScript(event.target);
});

// What is sent, with a box for each host that the VM may come to be on.
function sealed(body, secrets) {
  const keys = JSON.parse(theForm().querySelector("[data-seal-keys]").dataset.sealKeys);
  const id = crypto.randomUUID?.() ?? randomUuid();
  const boxes = Object.entries(keys).map(([host, key]) => [
    host,
    sealSecrets(key, secrets, `vm:${id}`),
  ]);
  const holds = [secrets.password && "password", secrets.userData.trim() && "user_data"];
  body.delete("password");
  if (!field("readable").checked) body.delete("user_data");
  body.set("vm_id", id);
  body.set("sealed", JSON.stringify(Object.fromEntries(boxes)));
  body.set("sealed_holds", holds.filter(Boolean).join(" "));
  return body;
}

// The page stays until the portal has taken it: what was typed is not lost by a refusal.
async function send(body, secrets) {
  sending = true;
  try {
    const answer = await fetch(theForm().action, { method: "POST", body });
    if (answer.redirected) {
      window.location.assign(answer.url);
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const main = page.querySelector("main");
    if (!main?.querySelector("form[data-seal]")) throw new Error(`answer ${answer.status}`);
    showAgain(main, secrets);
  } catch {
    ready();
    tell("password", "The portal did not take it. Nothing was made: try again in a moment.");
  }
}

// Submitting made the button turn, and take no second click: see dialogs.js.
function ready() {
  sending = false;
  delete theForm().dataset.sent;
  theForm().querySelector("[type=submit]").classList.remove("btn-loading");
}

function showAgain(main, secrets) {
  document.querySelector("main").replaceWith(document.adoptNode(main));
  window.htmx.process(main);
  sending = false;
  field("password").value = secrets.password;
  if (secrets.userData) {
    field("user_data").value = secrets.userData;
    field("user_data").closest("details").open = true;
  }
  showFirstError();
}

// Over plain http browsers have no randomUUID.
function randomUuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// ------------------------------------------------------------------ what nobody can check later

function problemOfPassword(password) {
  const typed = "password";
  if (!password) return null;
  if (password.length < 8) return [typed, "The password needs at least 8 characters."];
  if (password.length > 128) return [typed, "The password can have at most 128 characters."];
  if (/\p{Cc}/u.test(password)) {
    return [typed, "The password has a control character in it, which can't be typed at a login."];
  }
  return null;
}

function problemOfScript(text) {
  const typed = "user_data";
  if (!text.trim()) return null;
  if (text.includes("\0")) return [typed, "The script holds a NUL character."];
  if (new TextEncoder().encode(text).length > MOST_BYTES) {
    return [typed, "The script has more than 64 KiB. Fetch the rest from your own server."];
  }
  const first = text.trimStart().split("\n", 1)[0].trim();
  if (!/^(#!\s*\/|#cloud-|#include|#part-handler|## template: jinja|content-type:|mime-version:)/i.test(first)) {
    return [
      typed,
      "Start a script with #!/bin/sh, and YAML with #cloud-config as its first line.",
    ];
  }
  const known = new Set(theForm().querySelector("[data-variables]").dataset.variables.split(" "));
  const unknown = variablesIn(text).find((name) => !known.has(name));
  if (unknown) {
    return [
      typed,
      `There is no variable “{{ ${unknown} }}”. To keep the braces, put a backslash before them.`,
    ];
  }
  return problemOfYaml(text, first);
}

function problemOfYaml(text, first) {
  if (first.toLowerCase() !== "#cloud-config") return null;
  const [error] = parseDocument(text.replace(VARIABLE, "x")).errors;
  return error ? ["user_data", `The cloud-config is not valid YAML: ${error.message}`] : null;
}

function tell(name, message) {
  const input = field(name);
  const id = `${input.id}-sealing`;
  document.getElementById(id)?.remove();
  input.classList.toggle("is-invalid", Boolean(message));
  if (!message) return;
  const said = document.createElement("div");
  said.id = id;
  said.className = "field-error";
  said.dataset.testid = `error-${name}`;
  said.setAttribute("role", "alert");
  said.textContent = message;
  (input.closest(".input-group") ?? input).after(said);
  const folded = input.closest("details");
  if (folded) folded.open = true;
  input.focus();
}

// ------------------------------------------------------------------ the preview

function leaveSecretsOut(event) {
  if (event.detail.path !== theForm()?.dataset.seal) return;
  const sent = event.detail.parameters;
  for (const name of ["password", "sealed", "sealed_holds", "vm_id"]) sent.delete(name);
  if (!field("readable").checked) sent.delete("user_data");
}

function showSecretScript(preview) {
  const place = preview.querySelector("[data-preview-secret]");
  if (!place || !secretScript().trim()) return;
  const values = Object.fromEntries(
    Array.from(preview.querySelectorAll("[data-variable]"), (each) => [
      each.dataset.variable,
      each.textContent,
    ]),
  );
  place.hidden = false;
  place.querySelector("pre").textContent = filledIn(secretScript(), values);
}

function leftToTheGuest(text) {
  return text.trimStart().toLowerCase().startsWith(JINJA);
}

function variablesIn(text) {
  if (leftToTheGuest(text)) return [];
  return Array.from(text.matchAll(VARIABLE), (found) => found[1]).filter(Boolean);
}

function filledIn(text, values) {
  if (leftToTheGuest(text)) return text;
  return text.replace(VARIABLE, (all, name) => (name ? (values[name] ?? all) : "{{"));
}
