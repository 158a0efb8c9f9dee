// Builds the browser's bundles into static/dist: scripts, styles and the icon sprite.
import { build, context } from "esbuild";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";

const OUT = "static/dist";
const ICONS = "node_modules/@tabler/icons/icons/outline";

const shared = {
  bundle: true,
  minify: true,
  target: "es2022",
  outdir: OUT,
  logLevel: "warning",
  legalComments: "none",
};

const steps = [
  {
    ...shared,
    format: "esm",
    entryPoints: {
      main: "static/src/js/main.js",
      console: "static/src/js/console.js",
      charts: "static/src/js/charts.js",
      setup: "static/src/js/setup.js",
      reseal: "static/src/js/reseal.js",
    },
  },
  // Runs before the first paint, so it can't be a module: modules wait.
  { ...shared, format: "iife", entryPoints: { theme: "static/src/js/theme.js" } },
  {
    ...shared,
    entryPoints: { main: "static/src/css/main.css" },
    loader: { ".woff2": "file" },
    assetNames: "fonts/[name]-[hash]",
  },
];

// One file with the icons that the pages use, out of the several thousand there are.
async function sprite() {
  const names = (await readFile("static/src/icons.txt", "utf8")).split("\n").filter(Boolean);
  const symbols = await Promise.all(
    names.map(async (name) => {
      const svg = await readFile(`${ICONS}/${name}.svg`, "utf8");
      const inner = svg.replace(/<!--.*?-->/gs, "").replace(/^.*?<svg[^>]*>|<\/svg>\s*$/gs, "");
      return `<symbol id="${name}" viewBox="0 0 24 24">${inner.replace(/\s+/g, " ").trim()}</symbol>`;
    }),
  );
  await writeFile(
    `${OUT}/icons.svg`,
    `<svg xmlns="http://www.w3.org/2000/svg">${symbols.join("")}</svg>\n`,
  );
}

await rm(OUT, { recursive: true, force: true });
await mkdir(OUT, { recursive: true });
await sprite();
if (process.argv.includes("--watch")) {
  for (const step of steps) await (await context(step)).watch();
} else {
  await Promise.all(steps.map((step) => build(step)));
}
