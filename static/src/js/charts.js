// Charts of how busy a host or a VM was: drawn by uPlot from the API, which a table repeats.
import uPlot from "uplot";
import { BACKGROUND } from "./presence.js";

const REFRESH_MS = 60_000;
const HEIGHT = 140;
const MOST_TABLE_ROWS = 30;
const MIB = 1024 ** 2;

const CHARTS = {
  cpu: {
    series: [{ figure: "cpu_percent", name: "Processor" }],
    words: (value) => `${round(value)} %`,
    top: () => 100,
  },
  memory: {
    series: [{ figure: "memory_used_mib", name: "Memory" }],
    words: (value) => bytes(value * MIB),
    top: (section) => Number(section.dataset.memoryMib) || null,
    ticks: "bytes",
    unit: MIB,
  },
  disk: {
    series: [
      { figure: "disk_read", name: "Read" },
      { figure: "disk_write", name: "Written" },
    ],
    words: (value) => `${bytes(value)}/s`,
    ticks: "bytes",
  },
  network: {
    series: [
      { figure: "net_in", name: "In" },
      { figure: "net_out", name: "Out" },
    ],
    words: (value) => `${bytes(value)}/s`,
    ticks: "bytes",
  },
};

function install(section) {
  const state = section.querySelector("[data-usage-state]");
  const charts = section.querySelector("[data-usage-charts]");
  const details = section.querySelector("[data-usage-table]");
  const zone = section.dataset.zone || undefined;
  const plots = new Map();
  let range = section.querySelector("[data-range][aria-pressed=true]").dataset.range;
  let asked = 0;
  let shown = null;

  async function refresh() {
    const mine = ++asked;
    let answer = null;
    try {
      const address = `${section.dataset.usage}?range=${range}`;
      const response = await fetch(address, {
        headers: { Accept: "application/json", ...BACKGROUND },
      });
      if (response.ok) answer = await response.json();
    } catch {
      // Told below: the portal could not be reached.
    }
    if (mine !== asked) return;
    if (answer) show(answer);
    else if (!shown) say("The values could not be fetched. The page tries again in a minute.");
  }

  function say(sentence) {
    state.textContent = sentence;
    state.hidden = !sentence;
  }

  function show(answer) {
    shown = answer;
    const empty = answer.figures.cpu_percent.every((value) => value === null);
    say(empty ? section.dataset.empty : "");
    charts.hidden = empty;
    details.hidden = empty;
    section.dataset.shown = answer.range;
    if (empty) return;
    for (const figure of section.querySelectorAll("[data-chart]")) draw(figure, answer);
    if (details.open) table(details, answer, zone);
  }

  function draw(figure, answer) {
    const chart = CHARTS[figure.dataset.chart];
    const data = [answer.times, ...chart.series.map(({ figure: name }) => answer.figures[name])];
    const key = figure.dataset.chart;
    const known = data.slice(1).some((values) => values.some((value) => value !== null));
    figure.querySelector("[data-unknown]").hidden = known;
    plots.get(key)?.destroy();
    plots.delete(key);
    const room = figure.querySelector("[data-plot]");
    room.hidden = !known;
    tell(figure, chart, answer, null, zone);
    if (!known) return;
    const options = settings(section, room, chart, answer, zone, (place) =>
      tell(figure, chart, answer, place, zone),
    );
    plots.set(key, new uPlot(options, data, room));
  }

  for (const button of section.querySelectorAll("[data-range]")) {
    button.addEventListener("click", () => {
      range = button.dataset.range;
      for (const each of section.querySelectorAll("[data-range]")) {
        each.setAttribute("aria-pressed", String(each === button));
      }
      refresh();
    });
  }
  details.addEventListener("toggle", () => {
    if (details.open && shown) table(details, shown, zone);
  });
  const again = () => shown && show(shown);
  // Colours are those of the theme at the time of drawing.
  new MutationObserver(again).observe(document.documentElement, {
    attributeFilter: ["data-bs-theme"],
  });
  let width = 0;
  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (now && now !== width) {
      width = now;
      again();
    }
  }).observe(charts);
  setInterval(() => document.visibilityState === "visible" && refresh(), REFRESH_MS);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") refresh();
  });
  refresh();
}

function settings(section, room, chart, answer, zone, onCursor) {
  const style = getComputedStyle(section);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: color("--ink-2"),
    font: `11px ${style.fontFamily}`,
    grid: { stroke: color("--line"), width: 1 },
    ticks: { show: false },
  };
  const top = chart.top?.(section);
  return {
    width: room.clientWidth || 300,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    tzDate: (at) => (zone ? uPlot.tzDate(new Date(at * 1000), zone) : new Date(at * 1000)),
    legend: { show: false },
    cursor: { sync: { key: "usage" }, drag: { x: false, y: false }, points: { size: 6 } },
    scales: {
      x: { time: true, range: [answer.times[0], answer.times.at(-1)] },
      y: { range: (_plot, _low, high) => [0, top || Math.max(high * 1.1, 1024)] },
    },
    axes: [
      {
        ...axis,
        space: 64,
        size: 24,
        gap: 4,
        values: (_plot, splits) => splits.map((at) => moment(at, answer.range, zone)),
      },
      {
        ...axis,
        size: 62,
        space: 34,
        ...(chart.ticks && { splits: (_plot, _axis, low, high) => even(low, high, chart.unit) }),
        values: (_plot, splits) => splits.map(chart.words),
      },
    ],
    series: [
      {},
      ...chart.series.map((_each, number) => ({
        stroke: color(`--series-${number + 1}`),
        fill: number === 0 ? color("--series-1-soft") : undefined,
        width: 1.5,
        dash: number === 0 ? undefined : [5, 3],
        spanGaps: false,
        points: { show: false, filter: alone, size: 4, fill: color(`--series-${number + 1}`) },
      })),
    ],
    hooks: { setCursor: [(plot) => onCursor(plot.cursor.idx)] },
  };
}

// Values between two gaps make no line: they are drawn as dots.
function alone(plot, series) {
  const values = plot.data[series];
  const known = (at) => values[at] !== null && values[at] !== undefined;
  const found = [...values.keys()].filter((at) => known(at) && !known(at - 1) && !known(at + 1));
  return found.length ? found : null;
}

// Ticks at round numbers of KiB, MiB or GiB, at most five.
function even(low, high, unit = 1) {
  const size = high * unit;
  let step = 1024 ** Math.max(0, Math.floor(Math.log(size) / Math.log(1024)));
  while (size / step > 4) step *= 2;
  while (size / step < 2) step /= 2;
  const ticks = [];
  for (let at = 0; at <= size; at += step) ticks.push(at / unit);
  return ticks;
}

// The words beside a chart's name: what is under the pointer, or else the newest values. Where
// there are two lines, each value has a piece of its line before it.
function tell(figure, chart, answer, place, zone) {
  const pointed = place !== null && place !== undefined;
  const at = pointed ? place : newest(answer, chart);
  const words = chart.series.map(({ figure: name, name: word }, number) => {
    const value = at === null ? null : answer.figures[name][at];
    const said = value === null || value === undefined ? "—" : chart.words(value);
    const span = document.createElement("span");
    if (chart.series.length > 1) span.className = `key key-${number + 1}`;
    span.textContent = chart.series.length > 1 ? `${word} ${said}` : said;
    return span;
  });
  if (pointed) {
    const when = document.createElement("span");
    when.textContent = full(answer.times[place], zone);
    words.push(when);
  }
  figure.querySelector("[data-now]").replaceChildren(...words);
}

function newest(answer, chart) {
  const values = answer.figures[chart.series[0].figure];
  for (let at = values.length - 1; at >= 0; at -= 1) if (values[at] !== null) return at;
  return null;
}

// The same figures as rows, newest first, thinned out to what a person reads.
function table(details, answer, zone) {
  const each = Math.ceil(answer.times.length / MOST_TABLE_ROWS);
  const columns = Object.values(CHARTS).flatMap(({ series, words }) =>
    series.map(({ figure }) => ({ figure, words })),
  );
  const rows = [];
  for (let from = 0; from < answer.times.length; from += each) {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = full(answer.times[from], zone);
    row.append(head);
    for (const { figure, words } of columns) {
      const cell = row.insertCell();
      cell.className = "num text-end";
      const value = mean(answer.figures[figure].slice(from, from + each));
      cell.textContent = value === null ? "—" : words(value);
    }
    rows.unshift(row);
  }
  details.querySelector("tbody").replaceChildren(...rows);
}

function mean(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

function round(value) {
  return value >= 10 ? Math.round(value) : Math.round(value * 10) / 10;
}

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = value;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${round(size)} ${units[unit]}`;
}

function moment(at, range, zone) {
  const long = range === "7d" || range === "30d";
  const form = long
    ? { day: "numeric", month: "short" }
    : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return new Intl.DateTimeFormat("en-GB", { ...form, timeZone: zone }).format(at * 1000);
}

function full(at, zone) {
  return new Intl.DateTimeFormat("en-GB", {
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
    timeZone: zone,
  }).format(at * 1000);
}

for (const section of document.querySelectorAll("[data-usage]")) install(section);
