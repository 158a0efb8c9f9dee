// A guest's screen: a single-use ticket, then noVNC over the portal's own socket.
import RFB from "@novnc/novnc";
import keysyms from "../../../node_modules/@novnc/novnc/core/input/keysymdef.js";
import { BACKGROUND, installPresence } from "./presence.js";

const root = document.getElementById("console");
const screen = document.getElementById("console-screen");
const status = document.getElementById("console-status");
const message = document.getElementById("console-message");
const overlay = document.getElementById("console-overlay");
const spinner = document.getElementById("console-spinner");
const again = document.getElementById("console-again");

const ENTER = 0xff0d;
const TAB = 0xff09;
const RETRIES = 3;
// The portal's "signed out", "no more allowed", "not found" and "the host refused": asking again
// would not help.
const FINAL = new Set([4401, 4403, 4404, 4502]);

let rfb = null;
let tries = 0;
let closing = false;

function show(state, text, { retry = false } = {}) {
  root.dataset.state = state;
  status.textContent =
    { connecting: "Connecting…", connected: "Connected", closed: "Disconnected" }[state] ?? state;
  overlay.hidden = state === "connected";
  spinner.hidden = state !== "connecting";
  again.hidden = !retry;
  message.textContent = text;
  for (const button of document.querySelectorAll("[data-needs-screen]")) {
    button.disabled = state !== "connected";
  }
}

async function ticket() {
  const answer = await fetch(root.dataset.ticket, {
    method: "POST",
    headers: { "X-CSRFToken": root.dataset.csrf, Accept: "application/json", ...BACKGROUND },
  });
  if (answer.status === 404) throw new Error("This VM is gone. Go back to the list of VMs.");
  if (answer.redirected || answer.status === 403) {
    throw new Error("You are signed out. Reload this page to sign in again.");
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok || !body) {
    throw new Error(body?.message ?? "The portal did not answer. Try again in a moment.");
  }
  return body.url;
}

async function connect() {
  closing = false;
  show("connecting", "Asking the host for the screen…");
  let address;
  try {
    address = await ticket();
  } catch (error) {
    const text =
      error instanceof TypeError
        ? "The portal can't be reached. Check your own connection, then try again."
        : error.message;
    show("closed", text, { retry: true });
    return;
  }
  // Our own socket: it is told why the portal closed it, and noVNC would not pass that on.
  const socket = new WebSocket(new URL(address, window.location.href).href.replace(/^http/, "ws"));
  let closed = { code: 1006, reason: "" };
  socket.addEventListener("close", (event) => {
    closed = event;
  });
  rfb = new RFB(screen, socket);
  rfb.scaleViewport = true;
  rfb.clipViewport = false;
  rfb.background = "#0b0d10";
  rfb.qualityLevel = 8;
  rfb.compressionLevel = 2;
  rfb.addEventListener("connect", () => {
    tries = 0;
    show("connected", "");
    rfb.focus();
  });
  rfb.addEventListener("disconnect", () => ended(closed));
  rfb.addEventListener("securityfailure", () => {
    closing = true;
    show("closed", "The host refused the screen. Reload the page to try again.", { retry: true });
  });
  rfb.addEventListener("clipboard", (event) => {
    navigator.clipboard?.writeText(event.detail.text).catch(() => {});
  });
}

// `code` and `reason` are the portal's: consoles/streams.py.
function ended({ code, reason }) {
  rfb = null;
  if (closing) return;
  tries += 1;
  if (tries <= RETRIES && !FINAL.has(code)) {
    show("connecting", "The connection broke. Connecting again…");
    setTimeout(connect, 1000 * tries);
    return;
  }
  show(
    "closed",
    reason ||
      "The screen can't be reached. Check on the VM's page that it runs and that its host is " +
        "online, then connect again.",
    { retry: true },
  );
}

// Text goes in as keys, one at a time: it works at a login prompt, where no clipboard does.
async function typeText(text) {
  for (const character of text.replace(/\r\n?/g, "\n")) {
    if (!rfb) return;
    const code = character.codePointAt(0);
    let keysym = keysyms.lookup(code);
    if (character === "\n") keysym = ENTER;
    if (character === "\t") keysym = TAB;
    const shifted = /[A-Z~!@#$%^&*()_+{}|:"<>?]/.test(character);
    if (shifted) rfb.sendKey(0xffe1, "ShiftLeft", true);
    rfb.sendKey(keysym, null);
    if (shifted) rfb.sendKey(0xffe1, "ShiftLeft", false);
    await new Promise((done) => setTimeout(done, 20));
  }
}

again.addEventListener("click", () => {
  tries = 0;
  connect();
});
document.getElementById("console-cad").addEventListener("click", () => {
  rfb?.sendCtrlAltDel();
  rfb?.focus();
});
document.getElementById("console-fullscreen").addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else root.requestFullscreen();
  rfb?.focus();
});
const scale = document.getElementById("console-scale");
scale.addEventListener("click", () => {
  if (!rfb) return;
  rfb.scaleViewport = !rfb.scaleViewport;
  scale.setAttribute("aria-pressed", String(rfb.scaleViewport));
  rfb.focus();
});

const paste = document.getElementById("console-paste");
document.getElementById("console-paste-open").addEventListener("click", () => paste.showModal());
paste.addEventListener("click", (event) => {
  if (event.target.closest("[data-close]") || event.target === paste) paste.close();
});
paste.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = paste.querySelector("textarea");
  const text = field.value;
  field.value = "";
  paste.close();
  await typeText(text);
  rfb?.focus();
});
paste.addEventListener("close", () => rfb?.focus());

window.addEventListener("pagehide", () => {
  closing = true;
  rfb?.disconnect();
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) connect();
});
installPresence();
if (root.dataset.ready === "yes") connect();
