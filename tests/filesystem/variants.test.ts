import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UsageError } from "../../ts/base/errors.js";
import { FAMILIES, familyOf, ltpFilesystems, parseFilesystems, VARIANT_NAMES } from "../../ts/filesystem/variants.js";

describe("--filesystems", () => {
  test("all is every named variant, once", () => {
    expect(parseFilesystems("all").map(({ name }) => name)).toEqual(VARIANT_NAMES);
    expect(
      parseFilesystems("ext4,all,ext4")
        .map(({ name }) => name)
        .sort(),
    ).toEqual([...VARIANT_NAMES].sort());
    expect(VARIANT_NAMES.length).toBeGreaterThan(40);
  });

  test("a filesystem that lies has to be asked for by name", () => {
    expect(VARIANT_NAMES).not.toContain("faultfs");
    const name = "faultfs:fault=tear\\:file=a:fault=enospc:sector=4096";
    expect(parseFilesystems(name)).toEqual([
      { name, family: "faultfs", sectorBytes: 4096, mkfs: [], mount: [], faults: ["tear:file=a", "enospc"] },
    ]);
  });

  test("modifiers and settings combine", () => {
    expect(
      parseFilesystems("xfs:1k:rmapbt:mount=noatime:size=1g, ext4:mkfs=-O ^has_journal -m 0:mount=a\\,b:mount=c\\:d"),
    ).toEqual([
      {
        name: "xfs:1k:rmapbt:mount=noatime:size=1g",
        family: "xfs",
        blockBytes: 1024,
        sizeBytes: 2 ** 30,
        mkfs: ["-m", "rmapbt=1"],
        mount: ["noatime"],
        own: ["mount"],
      },
      {
        name: "ext4:mkfs=-O ^has_journal -m 0:mount=a\\,b:mount=c\\:d",
        family: "ext4",
        mkfs: ["-O", "^has_journal", "-m", "0"],
        mount: ["a", "b", "c:d"],
        own: ["mkfs", "mount"],
      },
    ]);
  });

  test.each([
    ["", "a name is missing"],
    ["ext4,,xfs", "a name is missing"],
    ["ext5", "There is no filesystem 'ext5' (did you mean \"ext"],
    ["btfrs", 'did you mean "btrfs"'],
    ["constructor", "There is no filesystem"],
    ["ext4:bigaloc", "ext4 has no variant 'bigaloc' (did you mean \"bigalloc\"?)"],
    ["ext4:toString", "ext4 has no variant"],
    ["ext4:blok=1k", "there is no setting 'blok' (did you mean \"block\"?)"],
    ["ext4:block=", "'block' has no value"],
    ["ext4:block=3000", "invalid block size '3000'"],
    ["ext4:block=128k", "invalid block size"],
    ["ext4:1k:2k", "block is set twice"],
    ["ext4:sector=1024", "invalid sector size '1024': use 512 or 4096"],
    ["ext4:1k:4ks", "a block of 1 KiB is smaller than a sector of 4 KiB"],
    ["tmpfs:mkfs=x", "tmpfs has no mkfs"],
    ["tmpfs:block=4k", "tmpfs has no block size"],
    ["tmpfs:sector=512", "tmpfs has no device"],
    ["exfat:block=4k", "exfat has no block size"],
    ["xfs:size=5", "invalid size '5'"],
    ["ext4:fault=drop-write", "ext4 does not lie; faultfs does"],
    ["faultfs:mount=noatime", "faultfs has no mount options"],
  ])("%j is refused", (text, message) => {
    expect(() => parseFilesystems(text)).toThrow(UsageError);
    expect(() => parseFilesystems(text)).toThrow(message);
  });

  test("every combination of a family's modifiers and settings is read back, or refused with a UsageError", () => {
    const value = fc.stringMatching(/^[a-z0-9=^_-]{1,12}$/);
    const setting = fc.oneof(
      fc.tuple(fc.constantFrom("mount", "mkfs"), value).map(([key, text]) => `${key}=${text}`),
      fc.constantFrom("block=1k", "block=4096", "sector=512", "sector=4096", "size=1g"),
    );
    const one = fc
      .constantFrom(...Object.keys(FAMILIES))
      .chain((family) =>
        fc.tuple(
          fc.constant(family),
          fc.subarray(Object.keys(familyOf({ family }).modifiers)).map((all) => all.slice(0, 3)),
          fc.array(setting, { maxLength: 3 }),
        ),
      )
      .map(([family, modifiers, settings]) => [family, ...modifiers, ...settings].join(":"));
    fc.assert(
      fc.property(fc.uniqueArray(one, { minLength: 1, maxLength: 4 }), (names) => {
        let variants: ReturnType<typeof parseFilesystems>;
        try {
          variants = parseFilesystems(names.join(","));
        } catch (error) {
          return error instanceof UsageError;
        }
        expect(variants.map(({ name }) => name)).toEqual(names);
        for (const { name, mount, mkfs } of variants) {
          for (const part of name.split(":")) {
            const [, key, text = ""] = /^(mount|mkfs)=(.*)$/.exec(part) ?? [];
            if (key !== undefined) expect(key === "mount" ? mount : mkfs).toContain(text);
          }
        }
        return true;
      }),
    );
  });

  test("no text does anything but parse or be refused", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.stringMatching(/^[a-z:=,\\0-9]*$/)), (text) => {
        try {
          parseFilesystems(text);
        } catch (error) {
          return error instanceof UsageError;
        }
        return true;
      }),
    );
  });
});

describe("LTP's variables", () => {
  test("mean what they mean there", () => {
    expect(ltpFilesystems({})).toEqual({ defaultFamily: "ext2" });
    expect(ltpFilesystems({ LTP_DEV: "/dev/sdb", LTP_DEV_FS_TYPE: "xfs", LTP_SINGLE_FS_TYPE: "overlay" })).toEqual({
      device: "/dev/sdb",
      defaultFamily: "xfs",
      onlyFamily: "overlayfs",
    });
    expect(ltpFilesystems({ LTP_FORCE_SINGLE_FS_TYPE: "ext4" })).toMatchObject({ onlyFamily: "ext4" });
  });

  test("contradictions and unknown names are refused", () => {
    expect(() => ltpFilesystems({ LTP_SINGLE_FS_TYPE: "ext4", LTP_FORCE_SINGLE_FS_TYPE: "xfs" })).toThrow("unset one");
    expect(() => ltpFilesystems({ LTP_DEV_FS_TYPE: "etx4" })).toThrow('did you mean "ext4"');
  });
});
