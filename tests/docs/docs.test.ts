/** What README and docs/ say of the program itself is so: tables, links, files, and how long the first page is. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { TABLES, withTables } from "../../scripts/tables.js";
import { packaged, root } from "../../ts/base/package.js";

const PAGES = [
  ...["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"],
  ...readdirSync(packaged("docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
];
const read = (name: string) => readFileSync(join(root, name), "utf8");

test.each(PAGES)("%s has its tables as the program has them (else: npm run docs)", (name) => {
  expect(read(name)).toBe(withTables(read(name)));
});

test("every table stands somewhere", () => {
  const all = PAGES.map(read).join("");
  expect(Object.keys(TABLES).filter((name) => !all.includes(`<!-- ${name} -->`))).toEqual([]);
});

/** As GitHub makes an anchor of a heading. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(" ", "-");

test.each(PAGES)("%s links to what is there", (name) => {
  const links = [...read(name).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  const broken = links.filter((target) => {
    if (/^https?:/.test(target)) return false;
    const [path = "", anchor] = target.split("#");
    const file = path === "" ? join(root, name) : join(root, dirname(name), path);
    if (!existsSync(file)) return true;
    const headings = anchor === undefined ? [] : [...readFileSync(file, "utf8").matchAll(/^#+ (.*)$/gm)];
    return anchor !== undefined && !headings.some(([, text = ""]) => anchorOf(text) === anchor);
  });
  expect(broken).toEqual([]);
});

test("the first page is short", () => {
  expect(read("README.md").split("\n").length).toBeLessThanOrEqual(150);
});
