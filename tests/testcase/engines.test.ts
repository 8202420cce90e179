import { expect, test } from "vitest";
import { absence, ENGINES } from "../../ts/testcase/engines.js";

const failure = (code: string) => ({ step: "setup" as const, message: `no: ${code}`, errno: 1, code });

test.each(["EPERM", "EACCES", "ENOSYS"])("what answers with %s is absent, and nothing else with it", (code) => {
  const missing = (kernel: object) => ENGINES.filter((engine) => absence(engine, kernel) === `no: ${code}`);
  expect(missing({ aioError: failure(code) })).toEqual(["libaio"]);
  expect(missing({ ioUringError: failure(code) })).toEqual(["io_uring", "io_uring-fixed"]);
});

test("a limit is no absence: the run tells what raises it", () => {
  const kernel = { aioError: failure("EAGAIN"), ioUringError: failure("ENOMEM") };
  expect(ENGINES.map((engine) => absence(engine, kernel))).toEqual(ENGINES.map(() => undefined));
});

test("what is no single engine lacks nothing", () => {
  const kernel = { aioError: failure("ENOSYS"), ioUringError: failure("EPERM") };
  expect([absence("mix", kernel), absence(undefined, kernel)]).toEqual([undefined, undefined]);
});
