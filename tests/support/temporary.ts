/** Directories that go with the test file that asked for them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

/** A fresh directory of this test file's, in `parent`. For a file's top level or a `describe`, not for a test. */
export function temporaryDirectory(name: string, parent = tmpdir()): string {
  const directory = mkdtempSync(join(parent, `aiodio-${name}-`));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Where tests of real I/O that need only one filesystem work: the first that `npm test` mounted. */
export function onFirstFilesystem(name: string): string {
  return temporaryDirectory(name, process.env.AIODIO_TEST_DIRS?.split(":")[0]);
}
