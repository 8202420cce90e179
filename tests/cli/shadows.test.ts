import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packaged } from "../../ts/base/package.js";
import { programFolders, shadows } from "../../ts/cli/shadows.js";
import { command, fakeSystem, temporaryFolder } from "./fixture.js";

/** A machine with LTP in one place, and what an older version of this package, installed globally, put on PATH in another. */
function machine() {
  const folder = temporaryFolder();
  const [ltp, ours] = [join(folder, "ltp", "testcases", "bin"), join(folder, "ours")];
  for (const path of [ltp, ours]) mkdirSync(path, { recursive: true });
  for (const name of ["aiocp", "dio_append"]) {
    writeFileSync(join(ltp, name), "\u007fELF");
    chmodSync(join(ltp, name), 0o755);
  }
  symlinkSync(packaged("bin", "aiodio-ltp.js"), join(ours, "aiocp"));
  return { folder, ltp, ours };
}

test("the first one hides the other, whosever it is", () => {
  const { ltp, ours } = machine();
  const both = ["aiocp", "dio_append"];
  expect(shadows(both, [ours, ltp])).toEqual([
    { name: "aiocp", first: join(ours, "aiocp"), hidden: join(ltp, "aiocp"), ours: true },
  ]);
  expect(shadows(both, ["/nowhere", ltp, ours])).toEqual([
    { name: "aiocp", first: join(ltp, "aiocp"), hidden: join(ours, "aiocp"), ours: false },
  ]);
  expect(shadows(both, [ltp, ltp])).toEqual([]);
  expect(shadows(both, [ours])).toEqual([]);
});

test("kirk looks into LTP's own directory last", () => {
  expect(programFolders({ PATH: "/a:/b", LTPROOT: "/l" })).toEqual(["/a", "/b", "/l/testcases/bin"]);
  expect(programFolders({})).toEqual(["/opt/ltp/testcases/bin"]);
});

test("a tree for kirk is ours", async () => {
  const { folder, ltp } = machine();
  const tree = join(folder, "tree");
  await command(["install-ltproot", tree]);
  const [shadow] = shadows(["aiocp"], [join(tree, "testcases", "bin"), ltp]);
  expect(shadow?.ours).toBe(true);
});

describe("doctor", () => {
  const path = async (env: Record<string, string>) => {
    const { out } = await command("doctor", fakeSystem({ env }));
    return out.slice(out.search(/^\w+ +PATH /m));
  };

  test("warns of LTP's programs behind ours, though only kirk would find them", async () => {
    const { folder, ours } = machine();
    const out = await path({ PATH: ours, LTPROOT: join(folder, "ltp") });
    expect(out).toMatch(/^less +PATH +aiocp is \S+\/ours\/aiocp, ours, and hides \S+\/ltp\/testcases\/bin\/aiocp\n/);
    expect(out).toMatch(/\n +-> a comparison with LTP would be with ourselves/);
  });

  test("warns of ours behind LTP's", async () => {
    const { ltp, ours } = machine();
    expect(await path({ PATH: `${ltp}:${ours}` })).toMatch(
      /^less +PATH +.* not ours, .*\n +-> start ours by aiodio-ltp exec aiocp\n/,
    );
  });

  test("has nothing to say of one of them alone", async () => {
    const { folder, ltp } = machine();
    expect(await path({ PATH: ltp, LTPROOT: join(folder, "none") })).toMatch(/^ok +PATH /);
  });
});
