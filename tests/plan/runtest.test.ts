import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MARKS, withVariables } from "../../ts/base/variables.js";
import { parseRuntest, RuntestError } from "../../ts/plan/runtest.js";

const problems = (text: string): string[] => {
  try {
    parseRuntest(text, "f");
  } catch (error) {
    if (error instanceof RuntestError) return error.problems.map(({ number, message }) => `${number}: ${message}`);
    throw error;
  }
  return [];
};
const argv = (command: string) => parseRuntest(`T ${command}`, "f")[0]?.argv;

describe("lines", () => {
  test("comments, blank lines and blanks around are no lines, and numbers count them", () => {
    const text = "# head\n\n \t\n  # indented\nAD001 aiocp -b 1k\n\tAD002\taiocp  -b\t2k  # why\n";
    expect(parseRuntest(text, "f")).toEqual([
      { number: 5, id: "AD001", command: "aiocp -b 1k", argv: ["aiocp", "-b", "1k"] },
      { number: 6, id: "AD002", command: "aiocp  -b\t2k", argv: ["aiocp", "-b", "2k"] },
    ]);
  });

  test("a file needs no newline at its end, and may hold nothing", () => {
    expect(parseRuntest("A b", "f")).toHaveLength(1);
    expect(parseRuntest("", "f")).toEqual([]);
  });

  test("a comment begins only where a word begins", () => {
    expect(argv("aiocp a#b # don't mind")).toEqual(["aiocp", "a#b"]);
    expect(argv("aiocp '#' \\# \"#\"")).toEqual(["aiocp", "#", "#", "#"]);
  });
});

describe("quoting is the shell's", () => {
  test.each([
    [`p 'a b' "c d" e\\ f`, ["p", "a b", "c d", "e f"]],
    [`p a'b c'd"e f"`, ["p", "ab cde f"]],
    [`p '' ""`, ["p", "", ""]],
    [`p 'a"b' "a'b" "a\\"b"`, ["p", `a"b`, "a'b", `a"b`]],
    [`p "a\\nb" 'a\\nb' a\\nb`, ["p", "a\\nb", "a\\nb", "anb"]],
    [`p '|;<>&$' "|;<>&*?" \\| "\\$x"`, ["p", "|;<>&$", "|;<>&*?", "|", "$x"]],
    ["p a~b x=~", ["p", "a~b", "x=~"]],
    ["p a\\  ", ["p", "a "]],
  ])("%s", (command, words) => {
    expect(argv(command)).toEqual(words);
  });

  test("whatever words there are, quoting them brings them back", () => {
    const word = fc.string({ unit: "grapheme" }).filter((text) => !/\p{Cc}/u.test(text));
    const single = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
    const double = (text: string) => `"${text.replaceAll(/["\\$`]/g, "\\$&")}"`;
    const bare = (text: string) => text.replaceAll(/[^\w]/g, "\\$&") || "''";
    const quote = fc.constantFrom(single, double, bare);
    fc.assert(
      fc.property(fc.array(fc.tuple(word, quote)), fc.boolean(), (words, comment) => {
        const command = ["p", ...words.map(([text, quoteWord]) => quoteWord(text))].join(" ");
        expect(argv(comment ? `${command} # it's "so` : command)).toEqual(["p", ...words.map(([text]) => text)]);
      }),
    );
  });
});

describe("what LTP's own files of up to 2023 need of a shell is understood", () => {
  const { TMPDIR, PID } = MARKS;

  test.each([
    [
      "time aiocp -b 1k -f SYNC $TMPDIR/aiodio.$$/junkfile $TMPDIR/aiodio.$$/ff2",
      ["aiocp", "-b", "1k", "-f", "SYNC", `${TMPDIR}/aiodio.${PID}/junkfile`, `${TMPDIR}/aiodio.${PID}/ff2`],
    ],
    ["p $TMPDIR", ["p", TMPDIR]],
    [`p "$TMPDIR/a b$$"`, ["p", `${TMPDIR}/a b${PID}`]],
    ["p $$$$x", ["p", `${PID}${PID}x`]],
    ["p '$TMPDIR' \\$TMPDIR \"\\$\\$\"", ["p", "$TMPDIR", "$TMPDIR", "$$"]],
    ["time", ["time"]],
  ])("%s", (command, words) => {
    expect(argv(command)).toEqual(words);
    expect(parseRuntest(`T ${command}`, "f")[0]?.command).toBe(command);
  });

  test.each(["$TMPDIRS", "$" + "{TMPDIR}", "$TMPBASE/x", "$", "$1", "$(id)", '"$HOME"'])("but not %s", (word) => {
    expect(problems(`A p ${word}`)).toEqual([expect.stringContaining('1: "$" would need a shell')]);
  });

  test("and is told as the file has it", () => {
    expect(withVariables(argv("p $TMPDIR/a.$$")?.[1] ?? "")).toBe("$TMPDIR/a.$$");
  });
});

describe("malformed lines", () => {
  test("are all told, with their numbers and what to do", () => {
    const text = [
      "AD001",
      "AD002 aiocp 'open",
      'AD003 aiocp "open',
      "AD.4 aiocp",
      "AD005 aiocp | tee x",
      "AD006 aiocp $HOME",
      'AD007 aiocp "`id`"',
      "AD008 aiocp",
      "AD008 aiocp again",
      "AD009 aiocp \u0007",
      "AD010 aiocp\r",
      "AD011 aiocp \\",
      "AD012 # only a comment",
      "AD013 ~/aiocp *.txt",
      "AD014 ''",
    ].join("\n");
    expect(problems(text)).toMatchSnapshot();
  });

  test("the error names the file on every line", () => {
    expect(() => parseRuntest("A\nB", "dir/f")).toThrow(/^dir\/f is malformed.*\ndir\/f:1: .*\ndir\/f:2: /);
  });

  test.each([..."|;<>&$`()*?["])("%s outside quotes would need a shell", (character) => {
    expect(problems(`A p x${character}y`)).toHaveLength(1);
    expect(problems(`A p 'x${character}y' x\\${character}y`)).toEqual([]);
  });

  test("nothing but its own error comes out, whatever goes in", () => {
    const piece = fc.constantFrom(
      "A",
      "b1 ",
      "'",
      '"',
      "\\",
      "#",
      "\n",
      " ",
      "\t",
      "$",
      "\0",
      "\r",
      "é",
      "AD001 aiocp\n",
    );
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.array(piece, { maxLength: 40 }).map((all) => all.join("")),
    );
    fc.assert(
      fc.property(text, (input) => {
        const found = problems(input);
        const count = input.split("\n").length;
        for (const problem of found) expect(Number.parseInt(problem, 10)).toBeLessThanOrEqual(count);
        if (found.length > 0) return;
        const lines = parseRuntest(input, "f");
        expect(new Set(lines.map(({ id }) => id)).size).toBe(lines.length);
        // What it keeps as the command means the same when it is read again.
        for (const { id, command, argv: words } of lines) {
          expect(parseRuntest(`${id} ${command}`, "f")[0]?.argv).toEqual(words);
        }
      }),
      { numRuns: 500 },
    );
  });
});
