import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KernelClock } from "../../ts/kernel/reader.js";
import { openKernelWatch, type WatchOptions } from "../../ts/kernel/watch.js";
import { FakeLog } from "./fixture.js";

const STALE =
  "Page cache invalidation failure on direct I/O.  Possible data corruption due to collision with buffered I/O!";
const file = (path: string) => `File: ${path} PID: 62 Comm: kworker/1:1`;
const CSUM = "BTRFS warning (device loop1): csum failed root 5 ino 257 off 0 csum 0xa expected csum 0xb mirror 1";

function watching(options: WatchOptions = {}) {
  const log = new FakeLog();
  const clock = new KernelClock(
    () => log.seconds,
    () => log.seconds * 1000,
  );
  return { log, watch: openKernelWatch({ reader: log.reader, clock, taint: () => 0n, ...options }) };
}

test("a testcase hears what is said while it runs, explained", () => {
  const { log, watch } = watching();
  log.say(CSUM);
  watch.begin("a", { directories: ["/var/tmp/LTP_aioTBsaEH"] });
  log.seconds = 101.5;
  log.say("aiodio-ltp: Starting AD033", STALE, file("/var/tmp/LTP_aioTBsaEH/dstfile.bin"));
  expect(watch.end("a")).toEqual([
    {
      time: "1970-01-01T00:01:41.500Z",
      seconds: 101.5,
      level: "err",
      text: `${STALE}\n${file("/var/tmp/LTP_aioTBsaEH/dstfile.bin")}`,
      rule: "page-cache-invalidation",
      class: "corruption",
      verdict: "TFAIL",
      explanation: expect.stringMatching(/^A direct write reached the disk/),
      link: "https://bugzilla.suse.com/show_bug.cgi?id=1224434",
      shared: false,
    },
  ]);
  expect(watch.between()).toMatchObject([{ text: CSUM, shared: false }]);
  expect(watch.between()).toEqual([]);
});

test("a message that no rule knows is told without a judgement", () => {
  const { log, watch } = watching();
  watch.begin("a");
  log.say("something new");
  const [finding, ...others] = watch.end("a");
  expect(others).toEqual([]);
  expect(finding).toEqual({
    time: "1970-01-01T00:01:40.000Z",
    seconds: 100,
    level: "err",
    text: "something new",
    shared: false,
  });
});

describe("of testcases that run at once", () => {
  const both = () => {
    const { log, watch } = watching({ isThreadOf: (pid, thread) => pid === 700 && thread === 703 });
    watch.begin("a", { directories: ["/mnt/a"], devices: ["loop1", "vda"], pids: [600] });
    watch.begin("b", { directories: ["/mnt/b"], devices: ["loop2", "vda"], pids: [700] });
    const ends = () => [watch.end("a"), watch.end("b")];
    return { log, watch, ends };
  };
  const one = { shared: false, verdict: "TFAIL" };

  test.each([
    ["its device", [CSUM], "a"],
    ["another's", [CSUM.replace("loop1", "loop2")], "b"],
    ["one whose name only begins alike", [CSUM.replace("loop1", "loop12")], "elsewhere"],
    ["its device's journal", ["JBD2: Invalid checksum recovering data block 1 in log on loop2-8"], "b"],
    ["a file", [STALE, file("/mnt/b/f")], "b"],
    ["a deleted file", [STALE, file("/mnt/a/LTP_x/f (deleted)")], "a"],
    ["a folder that only begins alike", [STALE, file("/mnt/abc/f")], "elsewhere"],
    ["a file that the kernel cannot name", [STALE, file("(unknown)")], "both"],
    ["its process", ["general protection fault, probably for address 0x1", "CPU: 0 PID: 600 Comm: node"], "a"],
    ["its process's thread", ["kernel BUG at mm/filemap.c:1!", "CPU: 0 UID: 0 PID: 703 Comm: libuv-worker"], "b"],
    ["a device that both stand on", ["EXT4-fs error (device vda): ext4_lookup:1: inode #2: bad"], "both"],
    ["nothing", ["kernel BUG at mm/filemap.c:1!"], "both"],
    ["a device of none", ["EXT4-fs error (device sdc1): ext4_lookup:1: inode #2: bad"], "elsewhere"],
    ["a file on a device of both", ["EXT4-fs error (device vda): x", STALE, file("/mnt/a/f")], "mixed"],
  ])("a message goes to whom it names: %s", (_, lines, whose) => {
    const { log, ends } = both();
    log.say(...lines);
    const [a = [], b = []] = ends();
    switch (whose) {
      case "a":
        expect([a, b]).toMatchObject([[one], []]);
        break;
      case "b":
        expect([a, b]).toMatchObject([[], [one]]);
        break;
      case "both":
        expect([a, b]).toMatchObject([[{ ...one, shared: true }], [{ ...one, shared: true }]]);
        break;
      case "mixed":
        expect([a, b]).toMatchObject([[{ shared: true }, one], [{ shared: true }]]);
        break;
      default:
        // It is told, but nobody is blamed.
        for (const findings of [a, b]) {
          expect(findings).toMatchObject([{ elsewhere: true, class: "corruption" }]);
          expect(findings[0]).not.toHaveProperty("verdict");
        }
    }
  });

  test("two processors that print at once blame only whom they name", () => {
    const { log, watch, ends } = both();
    log.say(STALE, STALE);
    watch.poll();
    log.say(file("/mnt/b/f"), file("/mnt/b/g"));
    expect(ends()).toMatchObject([[], [one, one]]);
  });

  test("a message whose file never comes may be of each", () => {
    const { log, ends } = both();
    log.say(STALE);
    expect(ends()).toMatchObject([[{ ...one, shared: true }], [{ ...one, shared: true }]]);
  });

  test("the thread that the kernel tells counts too", () => {
    const { log, ends } = both();
    log.sayAs(3, ",caller=T703", "kernel BUG at mm/filemap.c:1!");
    expect(ends()).toMatchObject([[], [one]]);
  });

  test("what one uses may become known later", () => {
    const { log, watch } = watching();
    watch.begin("a");
    watch.begin("b");
    watch.tell("b", { directories: ["/mnt/LTP_b"], devices: ["loop2"], pids: [7] });
    watch.tell("nobody", { devices: ["loop1"] });
    log.say(CSUM.replace("loop1", "loop2"), CSUM);
    // Of loop1 only "a" can be the user, which has not said what it uses.
    expect(watch.end("b")).toMatchObject([{ ...one, text: expect.stringContaining("loop2") }]);
    expect(watch.end("a")).toMatchObject([{ ...one, text: expect.stringContaining("loop1") }]);
  });

  test("who has ended is not blamed for what comes later, nor who has just begun for what came before", () => {
    const { log, watch } = watching();
    watch.begin("a");
    log.say("kernel BUG at mm/filemap.c:1!");
    watch.begin("b");
    expect(watch.end("a")).toMatchObject([one]);
    log.say("kernel BUG at mm/filemap.c:2!");
    expect(watch.end("b")).toMatchObject([{ ...one, text: "kernel BUG at mm/filemap.c:2!" }]);
  });
});

test("who is on no device is not blamed for a device's message, and who does not know may be", () => {
  const { log, watch } = watching();
  watch.begin("on a server", { directories: ["/mnt/nfs"], devices: [] });
  log.say(CSUM);
  const [finding] = watch.end("on a server");
  expect(finding).toMatchObject({ elsewhere: true, class: "corruption" });
  expect(finding).not.toHaveProperty("verdict");
  watch.begin("unknown", { directories: ["/mnt/overlay"] });
  log.say(CSUM, "kernel BUG at mm/filemap.c:1!");
  expect(watch.end("unknown")).toMatchObject([{ verdict: "TFAIL" }, { verdict: "TFAIL" }]);
});

test("overwritten messages are told to all that run", () => {
  const { log, watch } = watching();
  log.say("old");
  watch.begin("a", { devices: ["loop1"] });
  watch.begin("b", { devices: ["loop2"] });
  log.lose(41);
  log.say("new");
  for (const key of ["a", "b"]) {
    expect(watch.end(key)[0]).toMatchObject({
      rule: "messages-lost",
      text: expect.stringMatching(/^41 /),
      shared: true,
    });
  }
});

test("polling loses nothing", () => {
  const { log, watch } = watching();
  watch.begin("a");
  const [stall, more] = ["INFO: rcu_sched self-detected stall on CPU", "\t0-...: (1 GPs behind)"];
  for (const line of [STALE, file("/x"), stall, more]) {
    log.say(line);
    watch.poll();
  }
  const [whole, first, rest, ...others] = watch.end("a");
  expect(others).toEqual([]);
  expect(whole).toMatchObject({ rule: "page-cache-invalidation", verdict: "TFAIL", text: `${STALE}\n${file("/x")}` });
  expect(first).toMatchObject({ rule: "rcu-stall", text: stall, explanation: expect.any(String) });
  // The second half explains nothing a second time.
  expect(rest).toMatchObject({ rule: "rcu-stall", text: more });
  expect(rest).not.toHaveProperty("explanation");
});

test("a flood is kept to a limit, and told", () => {
  const { log, watch } = watching();
  watch.begin("a");
  for (let index = 0; index < 1500; index += 1) log.say(`line ${index}`);
  log.say(CSUM, CSUM);
  const findings = watch.end("a");
  expect(findings).toHaveLength(1002);
  // What judges is not drowned.
  expect(findings.at(-2)).toMatchObject({ rule: "btrfs-csum-failed", verdict: "TFAIL" });
  expect(findings.at(-1)).toMatchObject({ rule: "messages-lost", text: "501 more kernel messages are not kept" });
});

describe("taint", () => {
  const tainting = (...values: (bigint | undefined)[]) => watching({ taint: () => values.shift() }).watch;

  test("that came with a testcase is named, and judges by its gravest flag", () => {
    const watch = tainting(4096n, 4096n + 128n + 512n);
    watch.begin("a");
    expect(watch.end("a")).toMatchObject([
      {
        rule: "taint",
        class: "corruption",
        verdict: "TFAIL",
        text: "kernel is now tainted: D (kernel died: an oops or a BUG), W (kernel issued a warning); /proc/sys/kernel/tainted went from 4096 to 4736",
        shared: false,
      },
    ]);
  });

  test("of a warning or an unknown flag judges nothing", () => {
    const watch = tainting(0n, 512n, 0n, 1n << 40n);
    watch.begin("a");
    const [warning] = watch.end("a");
    expect(warning).toMatchObject({ rule: "taint", class: "warning" });
    expect(warning).not.toHaveProperty("verdict");
    watch.begin("b");
    expect(watch.end("b")[0]?.text).toMatch(/flag 40, which is not known here/);
  });

  test("of a distribution's own flag is harmless", () => {
    const watch = tainting(0n, 1n << 31n, 0n, 1n << 28n);
    for (const text of ["N (SUSE: unsupported module was loaded)", "? (flag 28 of the distribution)"]) {
      watch.begin("a");
      const findings = watch.end("a");
      expect(findings).toMatchObject([{ class: "info", text: expect.stringContaining(text) }]);
      expect(findings[0]).not.toHaveProperty("verdict");
    }
  });

  test("is shared by all that ran", () => {
    const watch = tainting(0n, 0n, 512n, 512n, 512n, 512n);
    watch.begin("a");
    watch.begin("b");
    expect(watch.end("a")).toMatchObject([{ rule: "taint", shared: true }]);
    expect(watch.end("b")).toMatchObject([{ rule: "taint", shared: true }]);
    watch.begin("c");
    expect(watch.end("c")).toEqual([]);
  });

  test("that cannot be read is none", () => {
    const watch = tainting(undefined, 512n, 0n, undefined);
    watch.begin("a");
    expect(watch.end("a")).toEqual([]);
    watch.begin("b");
    expect(watch.end("b")).toEqual([]);
  });
});

describe("without the log", () => {
  test("one note says why, and everything else goes on", () => {
    const taints = [0n, 128n];
    const watch = openKernelWatch({ path: "/nowhere/kmsg", taint: () => taints.shift() });
    expect(watch.note).toMatch(/^\/nowhere\/kmsg cannot be read \(ENOENT\)/);
    watch.begin("a");
    watch.poll();
    expect(watch.end("a")).toMatchObject([{ rule: "taint", verdict: "TFAIL" }]);
    expect(watch.between()).toEqual([]);
    watch.close();
  });

  test("a testcase that never began has heard nothing", () => {
    expect(watching().watch.end("nobody")).toEqual([]);
  });
});

test("no message is lost, and none is told to two unless it is shared, whatever happens when", () => {
  const key = fc.constantFrom("a", "b", "c");
  const line = fc.oneof(
    fc.constantFrom(STALE, file("/mnt/a/f"), CSUM, "new 1", "new 2", "BUG: KASAN: x", "Call Trace:"),
    fc.string().filter((text) => !/[\n\\]/.test(text)),
  );
  const step = fc.oneof(
    fc.record({ do: fc.constant("say" as const), line }),
    fc.record({ do: fc.constantFrom("begin" as const, "end" as const), key }),
    fc.record({ do: fc.constantFrom("poll" as const, "between" as const) }),
  );
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const { log, watch } = watching();
      const texts: string[] = [];
      const told: string[] = [];
      const hear = (findings: { text: string; shared: boolean; elsewhere?: true }[]) => {
        for (const { text } of findings) told.push(...text.split("\n"));
      };
      const running = new Set<string>();
      for (const [index, one] of steps.entries()) {
        if (one.do === "say") {
          // Numbered, to tell them apart; the number is where no rule looks.
          const text = `${one.line} #${index}`;
          if (!/^(?:[=-]{20,}|aiodio)/.test(text)) texts.push(text);
          log.say(text);
        } else if (one.do === "begin" && !running.has(one.key)) {
          running.add(one.key);
          watch.begin(one.key, one.key === "a" ? { directories: ["/mnt/a"], devices: ["loop1"] } : {});
        } else if (one.do === "end") {
          running.delete(one.key);
          hear(watch.end(one.key));
        } else if (one.do === "poll") watch.poll();
        else if (one.do === "between") hear(watch.between());
      }
      for (const left of running) hear(watch.end(left));
      hear(watch.between());
      expect(new Set(told)).toEqual(new Set(texts));
    }),
  );
});
