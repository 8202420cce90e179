import { expect, test } from "vitest";
import { UsageError } from "../../ts/base/errors.js";
import { parseGuest, parseGuests } from "../../ts/guest/name.js";

test.each([
  ["amd64", "amd64", "4k", "trixie"],
  ["x86_64:bullseye", "amd64", "4k", "bullseye"],
  ["arm64-16k:bookworm-backports", "arm64", "16k", "bookworm-backports"],
  ["ppc64le", "ppc64le", "64k", "trixie"],
  ["ppc64el-64k:bookworm", "ppc64le", "64k", "bookworm"],
])("%s", (text, architecture, pageSize, suite) => {
  expect(parseGuest(text)).toMatchObject({ text, architecture: { name: architecture }, pageSize, source: { suite } });
});

test.each([
  "",
  "pc64le",
  "amd65:sid",
  "amd64-64k",
  "arm64-8k:sid",
  "ppc64le-64k-4k",
  "ppc64le:bokworm",
  "ppc64le:",
  "ppc64le:sid:sid",
])('"%s" is one clear error', (text) => {
  expect(() => parseGuest(text)).toThrow(UsageError);
  expect(() => parseGuest(text)).toThrowErrorMatchingSnapshot();
});

test("an own kernel takes the place of the suite, and not both", () => {
  const own = { kernel: "/k/vmlinux", modules: "/k/modules" };
  expect(parseGuest("ppc64le-64k", own).source).toEqual(own);
  expect(() => parseGuest("ppc64le-64k:sid", own)).toThrow("leave out one of them");
  expect(() => parseGuests([], own)).toThrow("--kernel is for a guest: add --guest ARCH[-PAGESIZE]");
});

test("what is named twice is one guest", () => {
  expect(parseGuests(["amd64", "arm64", "amd64"]).map(({ text }) => text)).toEqual(["amd64", "arm64"]);
});
