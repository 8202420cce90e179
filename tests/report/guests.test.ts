/** The axis of guests: in keys, headers, the table and the journal. */
import { expect, test } from "vitest";
import { exitStatus, type RunEvent, zeroCounters } from "../../ts/events/events.js";
import { checkEvent } from "../../ts/events/schema.js";
import { makePlan } from "../../ts/plan/plan.js";
import { parseRuntest } from "../../ts/plan/runtest.js";
import { kirkReport } from "../../ts/report/json.js";
import { formatHeader } from "../../ts/report/ltp-reporter.js";
import { Results } from "../../ts/report/results.js";
import { formatFilesystems, formatGuest, formatRates } from "../../ts/report/summary.js";

const file = { path: "pagesize", suite: "pagesize", lines: parseRuntest("AD047 aiocp -b 8k\n", "pagesize") };
const plan = makePlan([file], { guests: ["ppc64le-64k:bookworm", "amd64"], filesystems: ["ext4", "btrfs:4k"] }, [
  "aiocp",
]);

const guest: Extract<RunEvent, { type: "guest" }> = {
  ...{ type: "guest", time: "2026-11-21T00:00:00.000Z", guest: "ppc64le-64k:bookworm", worker: 1 },
  machine: {
    ...{ kernel: "6.1.0-50-powerpc64le", kernelVersion: "#1", machine: "ppc64le", pageBytes: 65_536, node: "v20.19.2" },
    ...{ distribution: "debian", distributionVersion: "13", cmdline: "", cpu: "POWER9", memory: "2 GB", swap: "0 kB" },
  },
  ...{ accelerator: "tcg", bootSeconds: 10.49, timeoutMul: 8.1 },
};

test("everything runs in each guest on each filesystem, guest by guest", () => {
  expect(plan.map(({ key }) => key)).toEqual([
    ...["ppc64le-64k:bookworm/ext4/pagesize:AD047", "ppc64le-64k:bookworm/btrfs:4k/pagesize:AD047"],
    ...["amd64/ext4/pagesize:AD047", "amd64/btrfs:4k/pagesize:AD047"],
  ]);
});

test("a guest that is up is one line", () => {
  expect(formatGuest(guest)).toBe(
    "ppc64le-64k:bookworm: Linux 6.1.0-50-powerpc64le ppc64le, 64 KiB pages, up in 10.5 s (emulated, time limits × 8.1)\n",
  );
  expect(formatGuest({ ...guest, accelerator: "kvm", timeoutMul: 1 })).toContain("(KVM)");
});

test("a header names guest and filesystem", () => {
  expect(plan.slice(1, 2).map(formatHeader)).toEqual(["### ppc64le-64k:bookworm btrfs:4k AD047 aiocp -b 8k\n"]);
});

test("the table has a row for each filesystem of each guest", () => {
  const results = new Results();
  const time = "2026-11-21T00:00:00.000Z";
  results.add({ type: "run-start", time, version: "0", directory: "/", workers: 1, machine: guest.machine, plan });
  results.add(guest);
  const counters = { ...zeroCounters(), failed: 1 };
  const end = { verdict: "TFAIL", exit: exitStatus(counters), counters, durationSeconds: 1, summary: true } as const;
  results.add({ type: "test-end", time, key: "amd64/ext4/pagesize:AD047", ...end });
  expect(formatFilesystems(results)).toMatchInlineSnapshot(`
    "
    filesystem                    TPASS TFAIL TBROK TWARN TCONF
    ppc64le-64k:bookworm ext4         0     0     0     0     0  1 not run
    ppc64le-64k:bookworm btrfs:4k     0     0     0     0     0  1 not run
    amd64 ext4                        0     1     0     0     0
    amd64 btrfs:4k                    0     0     0     0     0  1 not run
    "
  `);
});

test("kirk's report is about the guest, where it is one", () => {
  const results = new Results(true);
  const host = { ...guest.machine, machine: "x86_64", kernel: "6.18.0" };
  results.add({ type: "run-start", time: "", version: "0", directory: "/", workers: 1, machine: host, plan });
  const arch = () => JSON.parse(kirkReport(results)).environment.arch;
  expect(arch()).toBe("x86_64");
  results.add(guest);
  results.add(guest);
  expect(arch()).toBe("ppc64le");
  results.add({ ...guest, guest: "amd64" });
  expect(arch()).toBe("x86_64");
});

test("a journal keeps the axis", () => {
  expect(checkEvent(JSON.parse(JSON.stringify(guest)))).toEqual(guest);
  const start = { type: "run-start", time: "", version: "0", directory: "/", workers: 1, machine: guest.machine, plan };
  expect(checkEvent(JSON.parse(JSON.stringify(start)))).toEqual(start);
  expect(() => checkEvent({ ...guest, accelerator: "warp" })).toThrow("accelerator");
});

test("a line that has run several times is told by how often it did not pass", () => {
  const runs = makePlan([file], { guests: ["g"], filesystems: ["btrfs"], repeat: 4 }, ["aiocp"]);
  expect(runs.map(({ key }) => key.replace(/.*:/, ""))).toEqual(["AD047", "AD047#2", "AD047#3", "AD047#4"]);
  /** How often, when the runs with these numbers fail and the last one has not run. */
  const rates = (failing: readonly number[]) => {
    const results = new Results();
    const start = { type: "run-start", time: "", version: "0", directory: "/", workers: 1, plan: runs } as const;
    results.add({ ...start, machine: guest.machine });
    for (const [index, { key }] of runs.slice(0, 3).entries()) {
      const failed = failing.includes(index) ? 1 : 0;
      const counters = { ...zeroCounters(), failed };
      const verdict = failed > 0 ? "TFAIL" : "TPASS";
      const end = { verdict, exit: exitStatus(counters), counters, durationSeconds: 1, summary: true } as const;
      results.add({ type: "test-end", time: "", key, ...end });
    }
    return formatRates(results);
  };
  expect(rates([])).toBe("");
  expect(rates([1])).toBe("\nHow often:\n  g/btrfs/AD047 did not pass 1 of 3 times (1 TFAIL)  aiocp -b 8k\n");
});
