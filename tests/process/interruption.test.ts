import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { onInterrupt, SIGNALS } from "../../ts/process/interruption.js";

test("the first signal ends in good order, a later one at once; what comes twice is one", () => {
  const signals = new EventEmitter();
  let now = 1000;
  const heard: string[] = [];
  const stop = onInterrupt(signals, () => now, {
    first: () => heard.push("first"),
    again: () => heard.push("again"),
  });
  signals.emit("SIGTERM");
  signals.emit("SIGINT");
  now += 400;
  signals.emit("SIGHUP");
  expect(heard).toEqual(["first"]);
  now += 200;
  signals.emit("SIGINT");
  expect(heard).toEqual(["first", "again"]);
  stop();
  for (const name of SIGNALS) expect(signals.listenerCount(name)).toBe(0);
});
