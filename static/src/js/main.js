import Alpine from "@alpinejs/csp";
import htmx from "htmx.org";
import { Idiomorph } from "idiomorph";
import { connectLive } from "./live.js";
import { installCopy } from "./copy.js";
import { installDialogs } from "./dialogs.js";
import { showFirstError } from "./errors.js";
import { installLists } from "./lists.js";
import { installMenus } from "./menus.js";
import { installPasskeys } from "./passkeys.js";
import { BACKGROUND, installPresence } from "./presence.js";
import { installQuota } from "./quota.js";
import { installScreen } from "./screen.js";
import { installSearch } from "./search.js";
import { installThemeSwitch } from "./themeswitch.js";
import { installTimes } from "./times.js";
import { installUpload } from "./upload.js";
import { registerForms } from "./forms.js";

window.htmx = htmx;

// Morphing keeps focus, typed text and running transitions where a swap would lose them.
htmx.defineExtension("morph", {
  isInlineSwap: (style) => style === "morph",
  handleSwap(style, target, fragment) {
    if (style !== "morph") return false;
    return Idiomorph.morph(target, fragment.children, {
      morphStyle: "outerHTML",
      ignoreActiveValue: true,
      callbacks: {
        beforeAttributeUpdated: keepWhatThePersonOpened,
        // What a script of its own draws and keeps fresh.
        beforeNodeMorphed: (node) => !node.dataset || !("own" in node.dataset),
      },
    });
  },
});

function keepWhatThePersonOpened(name, node) {
  if (name === "open" && (node.tagName === "DETAILS" || node.tagName === "DIALOG")) return false;
  if (name === "aria-expanded") return false;
  return undefined;
}

document.addEventListener("htmx:configRequest", (event) => {
  const token = document.querySelector("meta[name=csrf-token]");
  if (token) event.detail.headers["X-CSRFToken"] = token.content;
  // A part of the page that asks again because something changed: nobody touched it.
  if (event.detail.triggeringEvent?.type.startsWith("live:")) {
    Object.assign(event.detail.headers, BACKGROUND);
  }
});

// Signed out in the meantime: go and sign in, rather than show a login form inside a card.
document.addEventListener("htmx:beforeSwap", (event) => {
  const gone = event.target.dataset?.gone;
  if (gone && event.detail.xhr.status === 404) {
    // What this page is about was deleted, or came to nothing: its job says which.
    window.location.href = gone;
    return;
  }
  const url = event.detail.xhr.responseURL || "";
  if (url && new URL(url).pathname.startsWith("/account/login")) {
    event.detail.shouldSwap = false;
    window.location.reload();
  }
});

// The answer to a refused action is the page itself: its address is the page's too, so that
// reloading shows the page again.
const { here } = document.body.dataset;
if (here && here !== window.location.pathname) {
  const current = window.location.pathname;
  if (current.startsWith(here)) window.history.replaceState(null, "", here);
}

registerForms(Alpine);
Alpine.start();
installCopy();
installDialogs();
installLists();
installMenus();
installPasskeys();
installPresence();
installQuota();
installScreen();
installSearch(htmx);
installThemeSwitch();
installTimes();
installUpload();
showFirstError();
if (document.body.dataset.live) connectLive(document.body.dataset.live, htmx);
