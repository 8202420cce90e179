#!/usr/bin/env node
// `npm run docs`: writes the tables of docs/ anew that are made from the program's own (scripts/tables.ts). A test proves that they
// are current.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import library from "../dist/library.cjs";

const docs = join(dirname(dirname(fileURLToPath(import.meta.url))), "docs");
for (const name of readdirSync(docs).filter((name) => name.endsWith(".md"))) {
  const path = join(docs, name);
  const text = readFileSync(path, "utf8");
  const now = library.withTables(text);
  if (now !== text) writeFileSync(path, now);
}
