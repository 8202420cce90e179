// What `dist` and `native` are built from, as one number: the build keeps it, and the tests compare.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** Where the build keeps it. */
export const BUILT_FROM = join(root, "dist", ".built-from");
const FOLDERS = ["crates", "scripts", "testcases", "ts"];
const FILES = ["Cargo.lock", "Cargo.toml", "package-lock.json", "package.json", "tsconfig.json"];

/** A digest of the names and contents of all sources. */
export function sourcesDigest() {
  const inFolders = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath ?? entry.path, entry.name)),
  );
  const digest = createHash("sha256");
  for (const path of [...inFolders, ...FILES.map((file) => join(root, file))].sort()) {
    const content = readFileSync(path);
    digest.update(`${path.slice(root.length)}\0${content.length}\0`).update(content);
  }
  return digest.digest("hex");
}

/** What was built last; undefined where nothing was. */
export function builtFrom() {
  try {
    return readFileSync(BUILT_FROM, "utf8");
  } catch {
    return undefined;
  }
}
