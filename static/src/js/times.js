// Keeps "3 minutes ago" true while the page stays open.
const UNITS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];
const words = new Intl.RelativeTimeFormat("en-GB", { numeric: "auto" });

export function installTimes() {
  const refresh = () => {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const text = ago(new Date(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
    }
  };
  refresh();
  setInterval(refresh, 15_000);
  document.addEventListener("htmx:afterSettle", refresh);
}

function ago(date) {
  const seconds = (Date.now() - date.getTime()) / 1000;
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) return words.format(-Math.round(seconds / length), unit);
  }
  return "just now";
}
