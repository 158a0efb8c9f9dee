// One socket per page. Its events name what changed; marked parts of the page ask again.
//
// A part listens with hx-trigger="live:vm:<id> from:body" and the like. While the socket is
// down, every part asks again each 10 seconds, and a small sign says so.

const GATHER_MS = 150;
// Events about one thing are few. Those about a kind ("any VM") come from the whole fleet, and
// what listens to them is dear to ask for: at most once a second.
const GATHER_KIND_MS = 1000;
const POLL_MS = 10_000;

export function connectLive(path, htmx) {
  const address = new URL(path, window.location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const sign = document.getElementById("live-sign");
  const things = gatherer(htmx, GATHER_MS);
  const kinds = gatherer(htmx, GATHER_KIND_MS);
  let poll = null;
  let tries = 0;
  let missed = false;

  function down() {
    missed = true;
    if (sign && tries > 1) sign.hidden = false;
    poll ??= setInterval(() => things("live:poll"), POLL_MS);
  }

  function up() {
    tries = 0;
    if (sign) sign.hidden = true;
    clearInterval(poll);
    poll = null;
    // Whatever happened in the meantime was not heard.
    if (missed) things("live:poll");
    missed = false;
    document.documentElement.dataset.live = "up";
  }

  function open() {
    tries += 1;
    const socket = new WebSocket(address);
    socket.addEventListener("open", up);
    socket.addEventListener("message", (event) => {
      const { kind, id } = JSON.parse(event.data);
      if (kind === "missed") {
        // Told between the making of the page and the opening of its socket.
        things("live:poll");
        return;
      }
      kinds(`live:${kind}`);
      things(`live:${kind}:${id}`);
    });
    socket.addEventListener("close", (event) => {
      document.documentElement.dataset.live = "down";
      // Signed out, or something on the page may not be seen any more.
      if (event.code === 4401 || event.code === 4403) {
        window.location.reload();
        return;
      }
      down();
      const wait = Math.min(500 * 2 ** Math.min(tries, 6), 15_000);
      setTimeout(open, wait * (0.5 + Math.random() / 2));
    });
  }

  open();
  // Coming back to a tab that slept: look again at once.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible" && missed) things("live:poll");
  });
}

// Announces names on the body: soon after the first, and then no more often than `pause`.
function gatherer(htmx, pause) {
  let waiting = new Set();
  let timer = null;
  let last = 0;
  return (name) => {
    waiting.add(name);
    timer ??= setTimeout(
      () => {
        const names = waiting;
        waiting = new Set();
        timer = null;
        last = Date.now();
        for (const each of names) htmx.trigger(document.body, each);
      },
      Math.max(GATHER_MS, last + pause - Date.now()),
    );
  };
}
