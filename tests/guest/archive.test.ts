/** An archive with holes: programs of the test's own stand for the host's apt. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { UsageError } from "../../ts/base/errors.js";
import { main } from "../../ts/cli/main.js";
import { ArchiveError, firstOf } from "../../ts/guest/apt.js";
import { ARCHITECTURES, type Architecture } from "../../ts/guest/architectures.js";
import { Cache } from "../../ts/guest/cache.js";
import { kernelFor, olderKernels } from "../../ts/guest/kernel.js";
import { parseGuest } from "../../ts/guest/name.js";
import { rootFor } from "../../ts/guest/root.js";
import { fakeSystem } from "../cli/fixture.js";

const PPC = ARCHITECTURES.find(({ name }) => name === "ppc64le") as Architecture;
const path = process.env.PATH;
let folder: string;
let told: string[];
const tell = (text: string) => void told.push(text);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aiodio-archive-"));
  told = [];
  mkdirSync(join(folder, "bin"));
  mkdirSync(join(folder, "asked"));
  process.env.PATH = `${join(folder, "bin")}:${path}`;
});
afterEach(() => {
  process.env.PATH = path;
  rmSync(folder, { recursive: true, force: true });
});

function program(name: string, script: string): void {
  const file = join(folder, "bin", name);
  writeFileSync(file, `#!/bin/bash\n${script}\n`);
  chmodSync(file, 0o755);
}

/**
 * apt as `Apt` calls it, in its own directory. Each package is a tar file; what `missing` matches, as `SUITE PACKAGE`, is
 * listed and not there.
 */
function archive({ packages, missing = "^$", files }: { packages: string[]; missing?: string; files: string[] }): void {
  const tree = join(folder, "tree");
  for (const file of files) {
    mkdirSync(join(tree, file, ".."), { recursive: true });
    writeFileSync(join(tree, file), file);
  }
  const suite = `suite=$(sed -n 's|.* \\([a-z-]*\\) main$|\\1|p' sources.list 2>/dev/null)`;
  program(
    "apt-get",
    `${suite}
    case "$*" in
      *indextargets*) echo http://mirror.example/debian ;;
      *update*) [ "$suite" = "" ] || touch ${folder}/asked/$suite ;;
      *--print-uris*) echo "'http://mirror.example/x' x.deb 1048576 SHA256:00" ;;
      *)
        to=.; case "$*" in *--download-only*) to=archives;; esac
        wanted=no
        for word; do
          case $word in download|install) wanted=yes; continue;; -*) continue;; esac
          [ $wanted = yes ] || continue
          if [[ "$suite $word" =~ ${missing} ]]; then
            echo "E: Failed to fetch http://mirror.example/$word.deb  404  Not Found" >&2; exit 100
          fi
          tar -cf $to/$word.deb -C ${tree} .
        done ;;
    esac`,
  );
  // A metapackage needs the newest.
  const depends = `case "$*" in *linux-image-amd64*) echo "  Depends: linux-image-7.0.10-amd64" ;; esac`;
  program("apt-cache", `case "$*" in *pkgnames*) printf '%s\\n' ${packages.join(" ")} ;; *) ${depends} ;; esac`);
  program("dpkg-deb", 'shift; cat "$1"');
}

const ROOT = ["usr/bin/busybox", "usr/bin/node"];

describe("a root filesystem", () => {
  test("is from the next suite where the first lists a package that it does not have, and that is said", async () => {
    archive({ packages: [], missing: "trixie.nodejs", files: ROOT });
    const cache = new Cache(join(folder, "cache"));
    const root = await rootFor(PPC, cache, tell);
    expect(root.directory).toBe(join(folder, "cache", "root", "ppc64le-sid", "root"));
    expect(readFileSync(root.busybox, "utf8")).toBe("usr/bin/busybox");
    expect(told).toContainEqual(
      expect.stringMatching(/^the root of ppc64le can't be had from trixie, trying sid: .*nodejs.* 404 {2}Not Found/),
    );
    expect(told.at(-1)).toBe("the root of ppc64le is from sid");

    // What is kept needs no archive, whichever suite it is from.
    archive({ packages: [], missing: ".", files: [] });
    told = [];
    expect(await rootFor(PPC, cache, tell)).toEqual(root);
    expect(told).toEqual([]);
  });

  test("is fetched anew when asked for, and stays when it can't be", async () => {
    archive({ packages: [], files: ROOT });
    const cache = new Cache(join(folder, "cache"));
    const first = await rootFor(PPC, cache, tell);
    archive({ packages: [], missing: ".", files: [] });
    const fresh = new Cache(cache.directory, Date.now() + 1000);
    await expect(rootFor(PPC, fresh, tell)).rejects.toThrow(ArchiveError);
    expect(await rootFor(PPC, cache, tell)).toEqual(first);
    archive({ packages: [], files: [...ROOT, "usr/bin/new"] });
    await rootFor(PPC, fresh, tell);
    expect(existsSync(join(first.directory, "usr/bin/new"))).toBe(true);
  });

  test("that no suite has is one message with each reason and what to do", async () => {
    archive({ packages: [], missing: "nodejs", files: ROOT });
    const failure = await rootFor(PPC, new Cache(join(folder, "cache")), tell).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ArchiveError);
    expect(failure).toBeInstanceOf(UsageError);
    expect((failure as Error).message).toMatch(
      /^the root of ppc64le can't be had: trixie .*; sid .*404.*\. Try again later, or with another mirror$/,
    );
  });
});

describe("a kernel", () => {
  const files = [
    "boot/vmlinuz-7.0",
    "usr/lib/modules/7.0/kernel/fs/ext4/ext4.ko",
    "usr/lib/modules/7.0/modules.builtin",
  ];
  const packages = [
    "linux-image-amd64",
    "linux-image-7.0.9-amd64",
    "linux-image-7.0.10-amd64",
    "linux-image-7.0.10-amd64-dbg",
  ];

  test("is an older version where the newest is not there", async () => {
    archive({ packages, missing: "7.0.10", files });
    const cache = new Cache(join(folder, "cache"));
    const kernel = await kernelFor(parseGuest("amd64:sid"), cache, tell);
    expect(kernel.release).toBe("7.0");
    expect(told.at(-1)).toBe("the kernel of amd64:sid is from linux-image-7.0.9-amd64");
  });

  test("is of one version, whatever an attempt that failed has fetched before", async () => {
    const both = [
      "linux-image-7.0.9-amd64",
      "linux-modules-7.0.9-amd64",
      "linux-image-7.0.10-amd64",
      "linux-modules-7.0.10-amd64",
    ];
    archive({ packages: ["linux-image-amd64", ...both], missing: "linux-modules-7.0.10", files });
    // The image of each version needs its modules.
    const depends = both
      .filter((name) => name.includes("image"))
      .map((name) => {
        return `*${name}*) echo "  Depends: ${name.replace("image", "modules")}" ;;`;
      });
    program(
      "apt-cache",
      `case "$*" in
        *pkgnames*) printf '%s\\n' linux-image-amd64 ${both.join(" ")} ;;
        *linux-image-amd64*) echo "  Depends: linux-image-7.0.10-amd64" ;;
        ${depends.join("\n")}
      esac`,
    );
    const cache = new Cache(join(folder, "cache"));
    await kernelFor(parseGuest("amd64:sid"), cache, tell);
    const entry = await cache.find("kernel/amd64-4k-sid");
    expect(Object.keys(entry?.manifest.fetched ?? {}).sort()).toEqual([both[0], both[1]].map((name) => `${name}.deb`));
  });

  test("whose packages hold no configuration has none", async () => {
    archive({ packages: ["linux-image-amd64"], files });
    const kernel = await kernelFor(parseGuest("amd64:sid"), new Cache(join(folder, "cache")), tell);
    expect(kernel).toMatchObject({ release: "7.0" });
    expect(kernel).not.toHaveProperty("config");
  });

  test("candidates are of its flavour, newest first", () => {
    const names = [
      "linux-image-6.1.0-9-powerpc64le",
      "linux-image-6.1.0-31-powerpc64le",
      "linux-image-6.12-powerpc64le-64k",
    ];
    expect(olderKernels([...names, ...packages], "powerpc64le")).toEqual([names[1], names[0]]);
    expect(olderKernels(packages, "amd64")).toEqual(["linux-image-7.0.10-amd64", "linux-image-7.0.9-amd64"]);
  });
});

test("a failure that is no archive's is not tried elsewhere", async () => {
  const tried: string[] = [];
  const fetch = async (source: string) => {
    tried.push(source);
    throw new Error("a bug");
  };
  await expect(firstOf("x", ["a", "b"], fetch, tell)).rejects.toThrow("a bug");
  expect(tried).toEqual(["a"]);
});

test("what can't be fetched is one line on the terminal, without a stack, with exit status 2", async () => {
  archive({ packages: ["linux-image-amd64"], missing: ".", files: [] });
  program("qemu-system-x86_64", "exit 1");
  const system = fakeSystem({ cwd: folder, env: { XDG_CACHE_HOME: join(folder, "cache") } });
  const status = await main(["guest", "prepare", "amd64:sid", "--backing", folder, "--size", "1g"], system);
  expect(status).toBe(2);
  expect(system.terminal.written.err.trim().split("\n").at(-1)).toMatch(
    /^aiodio-ltp: the kernel of amd64:sid can't be had: sid for amd64 does not give .*404.*\. Try again later/,
  );
  expect(system.terminal.written.err).not.toMatch(/^ +at /m);
});
