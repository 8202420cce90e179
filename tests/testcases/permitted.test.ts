/** Whose own doings explain the kernel's message that direct and buffered I/O collided, and whose do not. */
import { beforeEach, expect, test } from "vitest";
import { startRecord } from "#native";
import { programs } from "../../ts/testcase/registry.js";
import { executed } from "../support/execute.js";
import { filesystems } from "../support/filesystems.js";

const [{ directory } = { directory: "/tmp" }] = filesystems();
const COLLISION = ["page-cache-invalidation"];

beforeEach(() => void startRecord({}));

test.each([
  ["aiocp -b 4k -s 64k", []],
  ["aio_signal_stress -p 2 -n 20", []],
  ["diotest2 -i 1", []],
  ["diotest3 -i 1", []],
  ["diotest3 -i 1 -n 2", COLLISION],
  ["dio_invalidate -n 1 -b 4k", []],
  ["dio_invalidate -n 1 -b 4k --collide reader", COLLISION],
  ["dio_invalidate -n 1 -b 4k --collide reader --strict", []],
  ["dio_races -n 1 --race eof-pieces", COLLISION],
  ["aio_unwritten -n 1 -s 1m", COLLISION],
  ["dio_sparse -s 64k -n 1", COLLISION],
  ["fsx-linux -N 10", []],
  ["fsx-linux -N 10 --direct", COLLISION],
])("%s", async (command, rules) => {
  const [program = "", ...argv] = command.split(" ");
  const { permitted, results } = await executed(await programs.get(program)?.load(), directory, argv);
  expect(permitted).toEqual(rules);
  expect(results.filter((result) => result === "TFAIL" || result === "TBROK")).toEqual([]);
});
