/** The directories that tests of real I/O run in: one per filesystem that `npm test` mounted. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll } from "vitest";

const mounted = process.env.AIODIO_TEST_DIRS?.split(":") ?? [];

/** Name and fresh directory for each filesystem; the temporary directory's own where none is mounted. */
export function filesystems(): { name: string; directory: string }[] {
  const parents = mounted.length > 0 ? mounted.map((path) => [basename(path), path]) : [["tmpdir", tmpdir()]];
  const made = parents.map(([name = "", parent = ""]) => ({ name, directory: mkdtempSync(join(parent, "aiodio-")) }));
  afterAll(() => {
    for (const { directory } of made) rmSync(directory, { recursive: true, force: true });
  });
  return made;
}

/** The image behind a mounted filesystem, for faults planted beneath it; undefined where there is none. */
export function imageOf(directory: string): string | undefined {
  const mount = mounted.find((path) => directory.startsWith(`${path}/`));
  return mount === undefined ? undefined : `${mount}.img`;
}
