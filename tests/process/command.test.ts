/** Programs whose output is wanted: what of them is told when they fail. */
import { expect, onTestFinished, test, vi } from "vitest";
import { CommandError, runCommand } from "../../ts/process/run.js";

const shell = (script: string) => runCommand(["sh", "-c", script]);

test("what a program says is returned as it is, blanks and newlines too", async () => {
  expect(await shell("printf ' a\\n\\n'")).toBe(" a\n\n");
});

test.each([
  ["echo first >&2; echo 2 >&2; echo 3 >&2; echo last >&2; exit 4", "2 / 3 / last"],
  ["exit 4", "exit status 4"],
  ["kill -TERM $$", "killed by SIGTERM"],
  ["head -c 17M /dev/zero", "it wrote more than is read of a program"],
])("%s is one clear error", async (script, words) => {
  await expect(shell(script)).rejects.toThrow(new CommandError("sh", words));
});

test("a program that is not there is named, with the package that brings it", async () => {
  await expect(runCommand(["mkfs.bcachefs-not-there"])).rejects.toThrow(
    "mkfs.bcachefs-not-there is not in PATH: install it",
  );
});

test("lines on its descriptor 3 are told one by one", async () => {
  const lines: string[] = [];
  await runCommand(["sh", "-c", "echo one >&3; echo two >&3"], { status: (line) => lines.push(line) });
  expect(lines).toEqual(["one", "two"]);
});

test("one that comes to no end is killed", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const end = expect(shell("exec sleep 1000")).rejects.toThrow(new CommandError("sh", "not done within 4 hours"));
  await vi.advanceTimersByTimeAsync(4 * 60 * 60 * 1000);
  await end;
  expect(vi.getTimerCount()).toBe(0);
});
