/** Where this package lies and which version it is; the one place that knows the layout on disk. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const manifest = createRequire(import.meta.url).resolve("#package");

/** Directory that holds package.json, bin/, dist/ and runtest/. */
export const root: string = dirname(manifest);

/** The package's version, as printed where LTP prints its own. */
export const version: string = JSON.parse(readFileSync(manifest, "utf8")).version;

/** Path of a file of the package. */
export function packaged(...parts: string[]): string {
  return join(root, ...parts);
}
