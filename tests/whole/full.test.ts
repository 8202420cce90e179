/** Where the journal's filesystem is full. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { expect, onTestFinished, test } from "vitest";
import { root } from "../../ts/base/package.js";

/** In a mount namespace that goes with the command. */
const SCRIPT = 'mount -t tmpfs -o size=32k none "$1" && exec "$2" bin/aiodio-ltp.js "$3" --journal "$1/journal"';

test.runIf(process.getuid?.() === 0)("what fits is kept, and one error says how to go on", async () => {
  const directory = mkdtempSync(join(tmpdir(), "full-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const lines = join(directory, "lines");
  writeFileSync(lines, Array.from({ length: 30 }, (_, line) => `COPY${line} aiocp -b 64k -n 4 -s 1m\n`).join(""));
  const journal = join(directory, "mount");
  const script = ["bash", "-c", `mkdir "$1"; ${SCRIPT}`, "bash", journal, process.execPath, lines];
  const { all, exitCode, signal } = await execa("unshare", ["--mount", "--", ...script], {
    ...{ cwd: root, all: true, reject: false },
  });
  expect(signal).toBeUndefined();
  expect(all).toMatch(/COPY0 +TPASS/);
  expect(all).not.toMatch(/TBROK|SIGBUS/);
  expect(all).toMatch(/writing the journal .* failed \(ENOSPC.*\): make room and go on with --resume$/);
  expect(exitCode).toBe(3);
});
