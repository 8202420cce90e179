#!/usr/bin/env node
// Part of `npm run lint`: which room of ts/ may know which (the picture in ARCHITECTURE.md), that no files import each other
// in a circle, who may write to the terminal, and what may not be loaded at every start. Prints what breaks a rule, and fails if there is anything.
//
// Its argument is the directory to look at in place of this package; for its test.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

/** What each room may import, the lowest room first: nothing that comes after it. */
const ROOMS = {
  base: [],
  native: [],
  events: ["base"],
  linux: ["base", "events"],
  process: ["base", "linux"],
  plan: ["base", "events"],
  kernel: ["base", "events", "linux"],
  testcase: ["base", "events", "linux"],
  faultfs: ["base", "linux", "process"],
  page: ["base"],
  report: ["base", "events", "kernel", "page"],
  filesystem: ["base", "events", "linux", "process", "faultfs"],
  run: ["base", "events", "linux", "process", "kernel", "testcase", "report", "filesystem"],
  guest: ["base", "events", "linux", "process", "kernel", "filesystem", "run"],
  selftest: ["base", "events", "process", "testcase", "filesystem", "run"],
  cli: [
    "base",
    "events",
    "linux",
    "process",
    "plan",
    "kernel",
    "testcase",
    "report",
    "filesystem",
    "run",
    "guest",
    "selftest",
  ],
};
/** What testcases are written against. */
const TESTCASES = ["base", "events", "testcase"];
/** It names all testcases, and loads one when it is asked for. */
const REGISTRY = "ts/testcase/registry.ts";

/** Standard streams and the console are for one room; those of a process that this package starts (`*-main.ts`) are pipes. */
const TERMINAL = /\bprocess\.(?:stdout|stderr)\b|(?<!\.)\bconsole\.(?:log|error|warn|info)\b/;
const WRITES = /^ts\/report\/|-main\.ts$/;

/** Starts that people wait for, and packages that take long to load. */
const STARTS = ["ts/cli/main.ts", "ts/run/command-main.ts", "ts/run/worker-main.ts"];
const SLOW = ["execa", "yaml", "zod"];

function sources(root, directory) {
  if (!existsSync(join(root, directory))) return [];
  return readdirSync(join(root, directory), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
    .map(({ parentPath, name }) => join(parentPath, name).slice(root.length + 1))
    .sort();
}

/** The source of what is imported as a `.js`. */
function sourceOf(root, path) {
  const plain = path.replace(/\.js$/, ".ts");
  return existsSync(join(root, plain)) || !existsSync(join(root, `${plain}x`)) ? plain : `${plain}x`;
}

/** What a file imports: paths below the root, names of packages. `later`: not before it is asked for, or as types only. */
function importsOf(root, file) {
  const text = readFileSync(join(root, file), "utf8").replaceAll(/^\s*(?:\/\/|\/?\*).*$/gm, "");
  const found = /(?:\b(?:import|export)(\s+type)?\b[^"'`;()]*?\sfrom\s*|^import\s*|\bimport(\())\s*"([^"]+)"/gm;
  return [...text.matchAll(found)].map(([, type, call, to]) => ({
    to: to.startsWith(".") ? sourceOf(root, normalize(join(dirname(file), to))) : to,
    later: type !== undefined || call !== undefined,
  }));
}

/** What rooms may be imported from a file, by the first two parts of their paths. */
function allowed(file) {
  const [top, room] = file.split("/");
  if (top === "testcases") return ["testcases", ...TESTCASES.map((name) => `ts/${name}`)];
  const below = [room, ...(ROOMS[room] ?? [])].map((name) => `ts/${name}`);
  return file === REGISTRY ? [...below, "testcases"] : below;
}

function roomRules(file, imports) {
  return imports
    .filter(({ to }) => /^(?:ts|testcases)\//.test(to))
    .filter(({ to }) => !allowed(file).some((place) => to.startsWith(`${place}/`)))
    .map(({ to }) => `${file} imports ${to}: that room is not below it (scripts/rooms.js, ARCHITECTURE.md)`);
}

/** Files that import each other, whether at the start, later or as types only. */
function circles(imports) {
  const found = new Set();
  const done = new Set();
  const visit = (file, way) => {
    if (way.includes(file)) found.add([...way.slice(way.indexOf(file)), file].join(" > "));
    else if (!done.has(file)) for (const { to } of imports.get(file) ?? []) visit(to, [...way, file]);
    done.add(file);
  };
  for (const file of imports.keys()) visit(file, []);
  return [...found].map((circle) => `${circle}: a circle of imports; what both need goes below them`);
}

/** The way from a start to a slow package, where there is one. */
function slowLoads(start, imports) {
  const from = new Map([[start, undefined]]);
  for (const file of from.keys()) {
    for (const { to, later } of imports.get(file) ?? []) if (!later && !from.has(to)) from.set(to, file);
  }
  return SLOW.filter((name) => from.has(name)).map((name) => {
    const way = [name];
    for (let file = from.get(name); file !== undefined; file = from.get(file)) way.unshift(file);
    return `${way.join(" > ")}: ${name} is loaded at the start; import it where it is needed`;
  });
}

function complaints(root) {
  const files = [...sources(root, "ts"), ...sources(root, "testcases")];
  const imports = new Map(files.map((file) => [file, importsOf(root, file)]));
  const unknown = new Set(files.map((file) => file.split("/")).flatMap(([top, room]) => (top === "ts" ? [room] : [])));
  const writes = files.filter((file) => !WRITES.test(file) && TERMINAL.test(readFileSync(join(root, file), "utf8")));
  return [
    ...[...unknown].filter((room) => !(room in ROOMS)).map((room) => `ts/${room} is no room of scripts/rooms.js`),
    ...files.flatMap((file) => roomRules(file, imports.get(file))),
    ...writes.map((file) => `${file} writes to the terminal, which only ts/report/ may`),
    ...circles(imports),
    ...STARTS.flatMap((start) => slowLoads(start, imports)),
  ];
}

const found = complaints(process.argv[2] ?? dirname(dirname(fileURLToPath(import.meta.url))));
for (const complaint of found) console.error(complaint);
if (found.length > 0) process.exitCode = 1;
