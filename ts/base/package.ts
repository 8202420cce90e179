/** Where this package lies and which version it is; the one place that knows the layout on disk. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { UsageError } from "./errors.js";

const require = createRequire(import.meta.url);
const manifest = require.resolve("#package");

/** Directory that holds package.json, bin/, dist/ and runtest/. */
export const root: string = dirname(manifest);

/** The package's version, as printed where LTP prints its own. */
export const version: string = JSON.parse(readFileSync(manifest, "utf8")).version;

/**
 * Path of `aiodio-exec`, which runs one testcase as a command: what is built here, else what the platform's package brings.
 *
 * @throws UsageError where there is neither
 */
export function execPath(): string {
  const built = packaged("native", "aiodio-exec");
  if (existsSync(built)) return built;
  for (const libc of ["gnu", "musl"]) {
    try {
      return require.resolve(`aiodio-ltp-linux-${process.arch}-${libc}/aiodio-exec`);
    } catch {}
  }
  throw new UsageError(
    `${root} has no aiodio-exec for ${process.arch}: install aiodio-ltp again, or build it (npm ci)`,
  );
}

/** Path of a program of this package that Node runs, as it was built: `worker` is made of a `worker-main.ts`. */
export function programPath(name: string): string {
  return packaged("dist", `${name}-main.cjs`);
}

/** Path of a file of the package. */
export function packaged(...parts: string[]): string {
  return join(root, ...parts);
}
