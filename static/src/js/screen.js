// The small picture of a VM's screen: asked for while somebody can see it, and not more often
// than the host takes one.
import { BACKGROUND } from "./presence.js";

const EVERY_MS = 10_000;
const SOON_MS = 1000;
const MOST_SOON = 6;

export function installScreen() {
  const section = document.querySelector("[data-screen]");
  if (!section) return;
  const state = section.querySelector("[data-screen-state]");
  const link = section.querySelector("[data-screen-link]");
  const image = section.querySelector("img");
  let timer = null;
  let soon = 0;
  let asking = false;
  let inView = false;

  const visible = () => inView && document.visibilityState === "visible";

  function wait(milliseconds) {
    clearTimeout(timer);
    timer = setTimeout(look, milliseconds);
  }

  function say(sentence) {
    state.textContent = sentence;
    state.hidden = false;
    link.hidden = true;
    section.dataset.state = "none";
  }

  function show(picture) {
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(picture);
    const at = new Date().toLocaleTimeString("en-GB", { timeZone: section.dataset.zone });
    image.alt = `${section.dataset.words}, at ${at}. Opens the console.`;
    link.hidden = false;
    state.hidden = true;
    section.dataset.state = "shown";
  }

  async function look() {
    if (asking || !visible()) return;
    asking = true;
    let next = EVERY_MS;
    try {
      const response = await fetch(section.dataset.screen, {
        method: "POST",
        headers: {
          "X-CSRFToken": document.querySelector("meta[name=csrf-token]").content,
          ...BACKGROUND,
        },
      });
      if (response.status === 200) {
        show(await response.blob());
        soon = 0;
      } else if (response.status === 202 && soon < MOST_SOON) {
        soon += 1;
        next = SOON_MS;
      } else if (response.status === 202) {
        say("The host has sent no picture yet. The page goes on asking.");
      } else {
        soon = 0;
        const { error } = await response.json();
        say(error?.message || "There is no picture of this screen now.");
      }
    } catch {
      say("The picture could not be fetched. The page tries again in ten seconds.");
    }
    asking = false;
    if (visible()) wait(next);
  }

  new IntersectionObserver(([entry]) => {
    inView = entry.isIntersecting;
    if (visible()) look();
  }).observe(section);
  document.addEventListener("visibilitychange", () => visible() && look());
  document.body.addEventListener(`live:vm:${section.dataset.vm}`, () => {
    soon = 0;
    if (visible()) wait(SOON_MS);
  });
}
