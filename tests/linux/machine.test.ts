import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { machineFacts, pageBytes } from "../../ts/linux/machine.js";

test("the facts are the machine's", () => {
  const facts = machineFacts();
  expect(facts.kernel).toBe(execFileSync("uname", ["-r"], { encoding: "utf8" }).trim());
  expect(facts.machine).toBe(execFileSync("uname", ["-m"], { encoding: "utf8" }).trim());
  expect(facts.memory).toMatch(/^\d+ kB$/);
  expect(facts.cpu).not.toMatch(/^\d*$/);
});

test("the page size is getconf's", () => {
  expect(pageBytes()).toBe(Number(execFileSync("getconf", ["PAGESIZE"], { encoding: "utf8" })));
});
