/** Directories of a server — NFS, CIFS, 9p, FUSE, Ceph — where LTP's aiocp stops: here it runs. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { startRecord } from "#native";
import { executed } from "../support/execute.js";

vi.mock("#native", async (original) => {
  const native = await original<typeof import("#native")>();
  const page = 65_536;
  const served = { logicalBlockBytes: page, dioMemAlign: page, dioOffsetAlign: page, dioSource: "page" };
  return { ...native, storageInfo: () => ({ strategy: "unsupported", ...served }) };
});
vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  return {
    ...fs,
    statfsSync: () => ({ type: 0x65735546 }),
    // An anonymous device's number, as stat(2) tells it.
    statSync: (path: string, options: object) => ({ ...fs.statSync(path, options), dev: 0x35n }),
  };
});

const aiocp = (await import("../../testcases/aiocp.js")).default;

let parent: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), "served-"));
  startRecord({});
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

test("aiocp runs there, and says how far down it looks", async () => {
  const { results, texts } = await executed(aiocp, parent, ["-b", "64k", "-s", "128k", "-f", "SYNC"]);
  expect(results, texts.join("\n")).toEqual(["TPASS"]);
  expect(texts).toContain(
    "TINFO: fuse has no block device of its own: what O_DIRECT reads is as far down as anything here looks, and may be a server's memory",
  );
  expect(texts.join("\n")).not.toMatch(/strategy/);
  expect(readdirSync(parent)).toEqual([]);
});

test("without an alignment that somebody tells, direct I/O has the page's", async () => {
  const { results, texts } = await executed(aiocp, parent, ["-b", "4k", "-s", "128k", "-f", "DIRECT"]);
  expect(results).toEqual(["TCONF"]);
  expect(texts).toContain("TCONF: Block size is not multiple of drive block size");
});
