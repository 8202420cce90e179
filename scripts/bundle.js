#!/usr/bin/env node
// Makes dist/: all that a Node process runs as one file, so that its start opens one file and not fifty. What is not asked for is
// in it and not run. What is taken in from node_modules is named, with its licence.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, "dist");

const SETTINGS = {
  absWorkingDir: root,
  bundle: true,
  // Node starts it in half the time that a module of the newer format takes.
  format: "cjs",
  platform: "node",
  target: "node20.17",
  sourcemap: true,
  sourcesContent: false,
  metafile: true,
  logLevel: "warning",
  external: ["#addon", "#package"],
  define: { "import.meta.url": "__filename" },
};

/** What bin/ loads, `ts/run/worker-main.ts` and its like, and what only tests and scripts load. */
const ENTRIES = [
  ...["ts/cli/main.ts", "ts/cli/exec.ts", "scripts/library.ts"],
  ...readdirSync(join(root, "ts"), { recursive: true })
    .filter((name) => name.endsWith("-main.ts"))
    .map((name) => join("ts", name)),
];

/** From which line of which file each line is, for result lines: a source map takes a hundred times as long to read. */
function writeLines(path) {
  const map = new SourceMap(JSON.parse(readFileSync(`${path}.map`, "utf8")));
  const sources = new Map();
  const lines = readFileSync(path, "utf8")
    .split("\n")
    .map((text, line) => {
      const { originalSource, originalLine } = map.findEntry(line, /^\s*/.exec(text)[0].length);
      if (originalSource === undefined) return [-1, 0];
      const name = basename(originalSource);
      if (!sources.has(name)) sources.set(name, sources.size);
      return [sources.get(name), originalLine + 1];
    });
  writeFileSync(`${path}.lines`, JSON.stringify({ sources: [...sources.keys()], lines: lines.flat() }));
}

/** What the page of `--reporter html` is made of; `{{DATA}}` stays in it for the reporter. */
async function buildPage() {
  const { outputFiles, metafile } = await build({
    ...{ absWorkingDir: root, bundle: true, minify: true, write: false, metafile: true, logLevel: "warning" },
    ...{ format: "iife", platform: "browser", target: "es2022", jsx: "automatic", jsxImportSource: "preact" },
    ...{ entryPoints: ["ts/page/main.tsx", "ts/page/style.css"], outdir: dist },
  });
  const made = (extension) => outputFiles.find(({ path }) => path.endsWith(extension)).text.trim();
  const [script, style] = [made(".js").replaceAll("</script", "<\\/script"), made(".css")];
  const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  const parts = {
    // Nothing but what is in it: no network, and no script that data could smuggle in.
    POLICY: `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; img-src data:`,
    STYLE: style,
    SCRIPT: script,
  };
  const template = readFileSync(join(root, "ts", "page", "page.html"), "utf8");
  writeFileSync(
    join(dist, "page.html"),
    template.replaceAll(/\{\{(\w+)\}\}/g, (mark, name) => parts[name] ?? mark),
  );
  return metafile;
}

/** The directories of the packages that these files are of. */
function packagesOf(files) {
  return [...new Set(files.flatMap((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []))].sort();
}

function noticeOf(directory) {
  const { name, version, license } = JSON.parse(readFileSync(join(root, directory, "package.json"), "utf8"));
  const file = readdirSync(join(root, directory)).find((entry) => /^licen[cs]e/i.test(entry));
  if (file === undefined) throw new Error(`${directory} has no licence's text`);
  return `${name} ${version} (${license})\n\n${readFileSync(join(root, directory, file), "utf8").trim()}\n`;
}

rmSync(dist, { recursive: true, force: true });
const made = await Promise.all(
  ENTRIES.map((path) =>
    build({ ...SETTINGS, entryPoints: [path], outfile: join(dist, basename(path).replace(/ts$/, "cjs")) }),
  ),
);
for (const path of made.flatMap(({ metafile }) => Object.keys(metafile.outputs))) {
  if (path.endsWith(".cjs")) writeLines(join(root, path));
}
const page = await buildPage();
const taken = packagesOf([...made.map(({ metafile }) => metafile), page].flatMap(({ inputs }) => Object.keys(inputs)));
writeFileSync(join(dist, "LICENCES"), taken.map(noticeOf).join(`\n${"-".repeat(80)}\n\n`));
