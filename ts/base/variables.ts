/** What a runtest line may leave to the process that runs it: `$TMPDIR` and `$$`. */

/**
 * What stands in a word for what only the process that runs it knows. Control characters, which no line may hold, so
 * that no text can be mistaken for them.
 */
export const MARKS = { TMPDIR: "\u0001", PID: "\u0002" } as const;

/** A word as the file has it. */
export function withVariables(word: string): string {
  return word.replaceAll(MARKS.TMPDIR, () => "$TMPDIR").replaceAll(MARKS.PID, () => "$$");
}
