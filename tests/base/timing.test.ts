import { describe, expect, test } from "vitest";
import { formatDuration, timing } from "../../ts/base/timing.js";

const aiocp = { timeout: 0, runtime: 1800 };

describe("timing, with the figures measured on LTP", () => {
  test.each([
    ["a slow kernel", aiocp, true, {}, 1920],
    ["an ordinary kernel", aiocp, false, {}, 1830],
    ["timeout 1800 on a slow kernel", { timeout: 1800, runtime: 0 }, true, {}, 7320],
    ["a stretched timeout leaves the runtime alone", aiocp, true, { LTP_TIMEOUT_MUL: "2" }, 2040],
    ["a shrunk timeout", { timeout: 0, runtime: 0 }, true, { LTP_TIMEOUT_MUL: "0.1" }, 12],
    ["a shrunk runtime", aiocp, true, { LTP_RUNTIME_MUL: "0.01" }, 138],
    ["a runtime never below a second", { timeout: 0, runtime: 10 }, false, { LTP_RUNTIME_MUL: "0.01" }, 31],
  ])("%s", (_, own, slow, env, seconds) => expect(timing(own, slow, env).timeoutSeconds).toBe(seconds));

  test("-1 is no limit", () => expect(timing({ timeout: -1, runtime: 5 }, true, {})).toEqual({ runtimeSeconds: 5 }));

  test.each([
    [{ LTP_TIMEOUT_MUL: "0.01" }, "Failed to parse LTP_TIMEOUT_MUL: ERANGE"],
    [{ LTP_TIMEOUT_MUL: "10001" }, "Failed to parse LTP_TIMEOUT_MUL: ERANGE"],
    [{ LTP_TIMEOUT_MUL: "fast" }, "Failed to parse LTP_TIMEOUT_MUL: EINVAL"],
    [{ LTP_RUNTIME_MUL: "101" }, "Failed to parse LTP_RUNTIME_MUL: ERANGE"],
    [{ LTP_RUNTIME_MUL: "" }, "Failed to parse LTP_RUNTIME_MUL: EINVAL"],
  ])("%j is refused", (env, message) => expect(() => timing(aiocp, false, env)).toThrow(message));
});

test("durations are printed as LTP prints them", () => {
  expect([0, 12, 1920, 7320].map(formatDuration)).toEqual(["0h 00m 00s", "0h 00m 12s", "0h 32m 00s", "2h 02m 00s"]);
});
