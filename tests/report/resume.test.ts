/** What must be the same for a run to go on, and what may be forced. */
import { describe, expect, test } from "vitest";
import type { RunStart } from "../../ts/events/events.js";
import { checkResumable, type Parts } from "../../ts/report/resume.js";
import { plan, runEvents } from "./fixture.js";

const start = runEvents()[0] as RunStart;

/** Parts of which the next one differs so. */
function parts(changes: Partial<RunStart>, kernels: Parts["kernels"] = []): Parts {
  return { first: start, last: start, next: { ...start, ...changes }, kernels };
}

test("the same goes on", () => {
  expect(() => checkResumable("j", parts({ time: "later", workers: 7 }), false)).not.toThrow();
});

describe("never goes on with", () => {
  const changed = plan.map((run, index) => (index === 2 ? { ...run, argv: [...run.argv, "-x"] } : run));
  test.each<[string, Partial<RunStart>, RegExp]>([
    ["another plan", { plan: plan.slice(1) }, /run 1 is "part1:AD001 .*" there and "part1:AD002 .*" here/],
    ["a shorter plan", { plan: plan.slice(0, 4) }, /run 5 is "part1:AD005 .*" there and nothing here/],
    ["other arguments", { plan: changed }, /run 3 is/],
    ["another directory", { directory: "/tmp" }, /is of a run in \/mnt: add -d \/mnt/],
    ["another engine", { engine: "sync" }, /with another engine: drop --engine/],
  ])("%s", (_name, changes, message) => {
    expect(() => checkResumable("j", parts(changes), true)).toThrow(message);
  });
});

describe("goes on only by force with", () => {
  const guest = plan.map((run) => ({ ...run, guest: "g" }));
  test.each<[string, Parts, string]>([
    [
      "another kernel",
      parts({ machine: { ...start.machine, kernel: "6.19.0" } }),
      "kernel (6.18.44 there, 6.19.0 here)",
    ],
    ["another version", parts({ version: "0.2.0" }), "version of this package (0.1.0 there, 0.2.0 here)"],
    ["another --verify", parts({ verify: "full" }), "--verify (none there, full here)"],
    ["another size", parts({ sizeBytes: 2 ** 30 }), "--size (none there, 1073741824 here)"],
    ["another device", parts({ devices: ["/dev/a", "/dev/b"] }), "--device (none there, /dev/a /dev/b here)"],
    [
      "a guest's other kernel",
      {
        ...parts({}, [{ name: "g", before: "6.1", now: "6.2" }]),
        first: { ...start, plan: guest },
        next: { ...start, plan: guest },
      },
      "kernel of g (6.1 there, 6.2 here)",
    ],
    [
      "several things that are different",
      parts({ version: "0.2.0", verify: "disk" }),
      "version of this package (0.1.0 there, 0.2.0 here), another --verify (none there, disk here)",
    ],
  ])("%s", (_name, changed, difference) => {
    expect(() => checkResumable("j", changed, false)).toThrow(
      `the journal j is of a run with another ${difference}: make it the same, go on all the same with --resume=force, or`,
    );
    expect(() => checkResumable("j", changed, true)).not.toThrow();
    // What was forced is the same from then on.
    expect(() => checkResumable("j", { ...changed, last: changed.next, kernels: [] }, false)).not.toThrow();
  });
});

test("the controller's kernel is no matter of what runs elsewhere", () => {
  const runs = plan.map((run) => ({ ...run, guest: "g" }));
  const there = { ...start, plan: runs };
  const next = { ...there, machine: { ...start.machine, kernel: "6.19.0" } };
  const kernels = [{ name: "g", before: "6.1", now: undefined }];
  expect(() => checkResumable("j", { first: there, last: there, next, kernels }, false)).not.toThrow();
});
