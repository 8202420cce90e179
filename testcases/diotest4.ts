/**
 * Direct I/O that must fail with the right errno, and direct I/O that must work in spite of everything: 17 checks, of which
 * LTP has removed two and still counts them.
 *
 * LTP takes addresses above the heap and its own program text for memory that can't be used; here they are mappings of the
 * testcase's own, which are the same on every architecture. Each write that must succeed writes new data and reads them
 * back, and the whole file is verified in the end: a write that failed must not have changed anything.
 */
import { join } from "node:path";
import { call, type DioAttempt, type DioCheck, probeDirect, storageInfo } from "#native";
import { describeFinding } from "../ts/testcase/finding.js";
import { seed } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import { explainFailure, unreachable, verifyOption } from "../ts/testcase/verification.js";
import { complaints, type Data, decimal, errnoOf, newData, TIMEOUT_SECONDS } from "./shared/data.js";

const FILE = "testdata-4";
const FILE_ID = 1;
/** LTP's block, which the file's size is given in. */
const BLOCK_BYTES = 4096;

/** LTP's words for each check. */
const TEXTS: Record<DioCheck["name"], string> = {
  "negative-offset": "Negative Offset",
  "odd-count": "Odd count of read and write",
  "beyond-end": "Read beyond the file size",
  "invalid-descriptor": "Invalid file descriptor",
  "descriptor-out-of-range": "Out of range file descriptor",
  "closed-descriptor": "Closed file descriptor",
  "character-device": "character device read, write",
  "mapped-file": "read, write to a mmaped file",
  "unmapped-file": "read, write to an unmapped file",
  "not-open-for-reading": "read from file not open for reading",
  "not-open-for-writing": "write to file not open for writing",
  "unaligned-memory": "read, write with non-aligned buffer",
  "read-only-memory": "read, write buffer in read-only space",
  "no-memory": "read, write in non-existant space",
  synchronous: "read, write for file with O_SYNC",
};

/** The checks after which LTP counts one that it has removed. */
const REMOVED_AFTER = new Set<string>(["negative-offset", "closed-descriptor"]);

/** What is said of a check that can't be made. */
const LACKING: Partial<Record<DioCheck["name"], (filesystem: string) => string>> = {
  "character-device": () => "Direct I/O on /dev/null is not supported",
  "mapped-file": (filesystem) => `${filesystem} has no shared mappings`,
};

/** What a filesystem may do itself, through the page cache, where the device can't. */
const LENIENT: Partial<Record<DioCheck["name"], string>> = {
  "odd-count": "supports odd count IO",
  "unaligned-memory": "supports non-aligned buffer",
};
/** Those that have no such way around: there it is an error. */
const STRICT = new Set(["ext2/ext3/ext4", "xfs"]);

interface State {
  data: Data;
  path: string;
  dioOffsetAlign: number;
}

export default testcase({
  name: "diotest4",
  summary: "Direct I/O that must fail with the right errno, and direct I/O that must work in spite of everything",
  legacyId: "diotest4",
  options: {
    b: decimal({
      ...{ default: 1, min: 1, help: "The file's size in blocks of 4096 bytes (default 1)" },
      invalid: "Invalid number of blocks '%s'",
    }),
    seed: seed(),
    verify: verifyOption("the file"),
  },
  runtimeSeconds: 0,
  timeoutSeconds: TIMEOUT_SECONDS,
  needs: { directory: true },

  setup(test): State {
    const obstacle = unreachable(test, test.options.verify);
    if (obstacle) test.unsupported(obstacle);
    const path = join(test.directory, FILE);
    const failure = probeDirect(path);
    if (failure?.code === "EINVAL") {
      test.unsupported(`O_DIRECT is not supported by this filesystem. ${errnoOf(failure)}`);
    }
    if (failure) test.broken(explainFailure(failure));
    const { words, ...data } = newData({ seed: test.options.seed, "ltp-pattern": false });
    test.info(words);
    return { data, path, dioOffsetAlign: storageInfo(test.directory).dioOffsetAlign };
  },

  async run(test, { data, path, dioOffsetAlign }) {
    const bytes = Math.max(test.options.b * BLOCK_BYTES, dioOffsetAlign);
    data.generation = 1;
    const content = { path, bytes, key: { seed: data.seed, fileId: FILE_ID, generation: data.generation } };
    const { error: unfilled } = await call("fill", content);
    if (unfilled) test.broken(explainFailure(unfilled));
    const { checks, error } = await call("dio-limits", { ...content, dioOffsetAlign });
    test.sink.data("checks", checks);
    for (const { name, attempts, unsupported } of checks) {
      const lenience = STRICT.has(test.filesystem) ? undefined : LENIENT[name];
      const [bad, lenient] = [[], []] as [DioAttempt[], DioAttempt[]];
      for (const one of attempts.filter(({ good }) => !good)) {
        const excused = lenience !== undefined && one.code === undefined && !one.wrongData;
        (excused ? lenient : bad).push(one);
      }
      if (unsupported !== undefined) {
        test.conf(LACKING[name]?.(test.filesystem) ?? `${TEXTS[name]}: ${unsupported}`);
      } else if (bad.length > 0) {
        test.fail(TEXTS[name]);
        for (const { call, expected, got, code, wrongData } of bad) {
          const lines = wrongData ? describeFinding(call, wrongData) : [`${call}: ${code ?? got}, not ${expected}`];
          for (const line of lines) test.info(line);
        }
      } else if (lenient.length > 0) {
        test.conf(`${test.filesystem} ${lenience}`);
      } else {
        test.pass(TEXTS[name]);
      }
      if (REMOVED_AFTER.has(name)) test.pass("removed");
    }
    if (error) test.broken(explainFailure(error));
    const found = await complaints(test, test.options.verify, data, { path, bytes, fileId: FILE_ID });
    for (const note of found.notes) test.info(note);
    if (found.lines.length > 0) test.fail("The file is not what it was: a call that failed has changed it");
    for (const line of found.lines) test.info(line);
    test.info(`${checks.length} testblocks completed`);
  },
});
