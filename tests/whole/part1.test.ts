/** The main job, as a user types it: all of part1, on each filesystem and on the machine's own. */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packaged } from "../../ts/base/package.js";
import { command } from "../support/command.js";
import { filesystems } from "../support/filesystems.js";
import { temporaryDirectory } from "../support/temporary.js";

const journals = temporaryDirectory("journal");
const machine = {
  name: "the temporary directory's own filesystem",
  directory: temporaryDirectory("part1"),
};

/** LTP's own program passes all 140 on ext4, xfs and btrfs over 512-byte sectors (measured under kirk). */
describe.each([...filesystems(), machine])("part1 on $name", ({ directory }) => {
  test("140 times TPASS, exit status 0, nothing left", async () => {
    const journal = join(journals, "journal");
    const run = command("aiodio-ltp", ["runtest/ltp-aiodio.part1", "-d", directory, "-j", "2", "--journal", journal]);
    const { all, stdout, exitCode } = await run;
    expect(stdout, all).toContain("140 TPASS");
    expect(exitCode, all).toBe(0);
    const events = readFileSync(journal, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const verdicts = events.filter(({ type }) => type === "test-end").map(({ key, verdict }) => `${key} ${verdict}`);
    const ids = readFileSync(packaged("runtest", "ltp-aiodio.part1"), "utf8").match(/^AD\d+/gm) ?? [];
    expect(ids).toHaveLength(140);
    expect(verdicts.sort()).toEqual(ids.map((id) => `ltp-aiodio.part1:${id} TPASS`));
    // Verified means verified on the disk: each line read back every sector past the page cache.
    const verified = events
      .filter(({ type, name }) => type === "data" && name === "verify")
      .map(({ value }) => value[1]);
    expect(verified).toHaveLength(140);
    for (const disk of verified)
      expect(disk).toMatchObject({ level: "disk", direct: true, sectors: 2048, sectorsBad: 0 });
    expect(readdirSync(directory)).toEqual([]);
    rmSync(journal);
  });
});
