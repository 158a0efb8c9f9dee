// Tells the portal now and then that somebody is at this page: a session that nobody uses ends,
// where the sign-in policy says so, and what pages ask by themselves is no use.

const EVERY_MS = 30_000;
const SIGNS = ["keydown", "pointerdown", "wheel", "input"];

// The header of everything that is asked without anybody having done something.
export const BACKGROUND = { "Basalt-Background": "1" };

let touched = false;
let waiting = false;

// Somebody is here, or what they began goes on. Told at once, and then twice a minute at most.
export function present() {
  touched = true;
  if (!waiting) tell();
}

function tell() {
  const address = document.querySelector("[data-presence]")?.dataset.presence;
  waiting = touched && Boolean(address);
  if (!waiting) return;
  touched = false;
  setTimeout(tell, EVERY_MS);
  // Whoever is signed out is led away by the page's socket; else the next time will do.
  fetch(address, { redirect: "manual" }).catch(() => {});
}

export function installPresence() {
  // On the window and first of all: a console keeps what is typed into it for itself.
  for (const sign of SIGNS) {
    window.addEventListener(sign, (event) => event.isTrusted && present(), {
      capture: true,
      passive: true,
    });
  }
}
