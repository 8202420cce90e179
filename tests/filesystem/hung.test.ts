/** Real keepers that come to no end: what is told of them, and that nothing stays. */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { KeeperError, KeeperHung } from "../../ts/filesystem/keeper-process.js";
import { Filesystem } from "../../ts/filesystem/provision.js";
import { temporaryDirectory } from "../support/temporary.js";
import { backingDirectory, expectNoTraces, MiB, provision, variant } from "./fixture.js";

const backing = backingDirectory();
const programs = temporaryDirectory("programs");

test("a keeper that is stopped is given up with its threads' places, and leaves nothing", async () => {
  const filesystem = await provision("ext4", { backing, limitSeconds: 30 });
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  process.kill(filesystem.pid, "SIGSTOP");
  const checking = filesystem.check().catch((failure: unknown) => failure);
  await vi.advanceTimersByTimeAsync(150_000);
  const error = await checking;
  expect(error).toBeInstanceOf(KeeperHung);
  expect((error as KeeperHung).message).toMatch(/did not answer 'check' within 150 s/);
  expect((error as KeeperHung).stacks[0]).toMatch(new RegExp(`^thread ${filesystem.pid} \\(.*\\) waits in `));
  expect(filesystem.dead).toBe(true);
  await expect(filesystem.check()).rejects.toBe(error);
  await filesystem.release();
  await filesystem.death;
  vi.useRealTimers();
  await expectNoTraces(backing);
});

test("mkfs that hangs is killed, and told with where it was", async () => {
  const path = process.env.PATH;
  const file = join(programs, "mkfs.ext4");
  writeFileSync(file, "#!/bin/sh\nexec sleep 1000\n");
  chmodSync(file, 0o755);
  process.env.PATH = `${programs}:${path}`;
  try {
    const options = { backing, sizeBytes: 64 * MiB, dirtyBytes: 0, limitSeconds: 2 };
    const hung = await Filesystem.provision(variant("ext4"), options).catch((failure: unknown) => failure);
    expect(hung).toBeInstanceOf(KeeperError);
    expect((hung as KeeperError).message).toMatch(
      /^ext4: mkfs\.ext4 .*: not done within 4 s, and killed:\nthread \d+ \(S .*\) waits in /,
    );
  } finally {
    process.env.PATH = path;
  }
  await expectNoTraces(backing);
});
