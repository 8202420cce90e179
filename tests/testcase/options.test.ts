import { describe, expect, test } from "vitest";
import { choice, integer, type Options, parseCommandLine, size, text } from "../../ts/testcase/options.js";

const options = {
  b: size({ default: 65536, help: "block", invalid: "Invalid write blocks size '%s'" }),
  n: integer({ default: 16, help: "depth", invalid: "Invalid number of I/O '%s'" }),
  engine: choice({ default: "libaio", of: ["libaio", "sync"], help: "engine" }),
} satisfies Options;

const parse = (argv: string[], defaults = {}) => parseCommandLine("aiocp", argv, options, true, defaults);

describe("a testcase's command line", () => {
  test("defaults", () => {
    expect(parse([])).toEqual({
      values: { b: 65536, n: 16, engine: "libaio" },
      iterations: 1,
      debug: 0,
      help: false,
      version: false,
      repeated: [],
      legacy: false,
      operands: [],
      getoptErrors: [],
    });
  });

  test.each([[["-b", "4k", "-n", "4"]], [["-b4k", "-n4"]], [["-n", "4", "-b", "4k"]]])("%j", (argv) =>
    expect(parse(argv).values).toMatchObject({ b: 4096, n: 4 }),
  );

  test("the run's default may be for an option of another name", () => {
    const read = (given: string) => given;
    const s = text({ default: "none", argument: "N", help: "", invalid: "%s", read, defaultsAs: "seed" });
    expect(parseCommandLine("t", [], { s }, false, { seed: "7", s: "8" }).values).toEqual({ s: "7" });
    expect(parseCommandLine("t", ["-s", "9"], { s }, false, { seed: "7" }).values).toEqual({ s: "9" });
  });

  test("long options take both forms, and the run's defaults give way to them", () => {
    expect(parse(["--engine", "sync"]).values.engine).toBe("sync");
    expect(parse(["--engine=sync"]).values.engine).toBe("sync");
    expect(parse([], { engine: "sync", unknown: "x" }).values.engine).toBe("sync");
    expect(parse(["--engine=libaio"], { engine: "sync" }).values.engine).toBe("libaio");
  });

  test("-D takes its level or none", () => {
    expect(parse(["-D"]).debug).toBe(1);
    expect(parse(["-D2", "-b", "1k"])).toMatchObject({ debug: 2, values: { b: 1024 } });
  });

  test("-i and -I", () => {
    expect(parse(["-i", "0"]).iterations).toBe(0);
    expect(parse(["-i", "3", "-I", "5"])).toMatchObject({ iterations: 3, seconds: 5 });
    expect(parse(["-i", "x"]).error).toMatch(/^Invalid number of iterations 'x'/);
    expect(parse(["-I", "0.5"]).error).toMatch(/whole seconds/);
    expect(parseCommandLine("t", ["-I", "0.5"], {}, false).seconds).toBe(0.5);
    expect(parseCommandLine("t", ["-I", "0.01"], {}, false).error).toMatch(/seconds from 0.1/);
  });

  test("an option of its own hides the generic one of that name", () => {
    const own = {
      i: integer({ default: 100, help: "loops", invalid: "Invalid loops '%s'" }),
      V: text({ default: "", argument: "WORD", help: "word", invalid: "bad", read: (word) => word }),
      D: text({ default: "", argument: "WORD", help: "word", invalid: "bad", read: (word) => word }),
    } satisfies Options;
    const line = parseCommandLine("t", ["-i", "3", "-V", "1", "-D2"], own, false);
    expect(line).toMatchObject({ values: { i: 3, V: "1", D: "2" }, iterations: 1, debug: 0, version: false });
    expect(line.getoptErrors).toEqual([]);
    expect(parseCommandLine("t", ["-i", "x"], own, false)).toMatchObject({ valueError: "Invalid loops 'x'" });
    expect(parseCommandLine("t", ["-i", "3", "-i", "4"], own, false).repeated).toEqual(["i"]);
  });

  test("--legacy-output is for the testcases of the old library alone", () => {
    expect(parseCommandLine("t", ["--legacy-output"], {}, false, {}, true)).toMatchObject({ legacy: true });
    expect(parseCommandLine("t", ["--legacy-output"], {}, false).error).toBe("Invalid option");
  });

  test("what getopt complains of", () => {
    expect(parse(["-Z"])).toMatchObject({ getoptErrors: ["aiocp: invalid option -- 'Z'"], error: "Invalid option" });
    expect(parse(["-b"])).toMatchObject({
      getoptErrors: ["aiocp: option requires an argument -- 'b'"],
      error: "Invalid option",
    });
    expect(parse(["--wat"]).getoptErrors).toEqual(["aiocp: unrecognized option '--wat'"]);
    expect(parse(["--b", "4k"]).getoptErrors).toEqual(["aiocp: unrecognized option '--b'"]);
    expect(parse(["-C"]).error).toBe("Invalid option");
  });

  test("a positional argument", () => expect(parse(["extra"]).error).toBe("Unexpected argument(s) 'extra'..."));

  test("an option given twice is named, and the last one counts", () => {
    expect(parse(["-b", "1k", "-b", "2k"])).toMatchObject({ repeated: ["b"], values: { b: 2048 } });
  });

  test("a value that the testcase refuses has LTP's words", () => {
    expect(parse(["-n", "abc"]).valueError).toBe("Invalid number of I/O 'abc'");
    expect(parse(["-b", "0"]).valueError).toBe("Invalid write blocks size '0'");
    expect(parse(["--engine", "fast"]).valueError).toBe("'fast' is not one of libaio, sync");
  });
});
