/** The only way to the terminal: standard output and standard error, with what is known about them. */

export interface Terminal {
  /** Writes to standard output. */
  out(text: string): void;
  /** Writes to standard error. */
  err(text: string): void;
  /** Whether standard output is a terminal that understands cursor movement. */
  readonly live: boolean;
  /** Whether standard output is a terminal at all. */
  readonly tty: boolean;
  /** Whether to colour what goes to standard output. */
  readonly colour: boolean;
  columns(): number;
  rows(): number;
  /** Called once when nobody reads standard output any more (`| head`). */
  onClosed(callback: () => void): void;
}

/** Whether NO_COLOR, FORCE_COLOR or else the kind of stream asks for colours. */
export function colourWanted(env: NodeJS.ProcessEnv, tty: boolean): boolean {
  const { FORCE_COLOR: force, NO_COLOR: no } = env;
  if (force !== undefined) return force !== "0" && force !== "false";
  if (no) return false;
  return tty && env.TERM !== "dumb";
}

/** The terminal of this process. */
export function processTerminal(
  env: NodeJS.ProcessEnv = process.env,
  { stdout, stderr }: Pick<NodeJS.Process, "stdout" | "stderr"> = process,
): Terminal {
  let closed = false;
  const callbacks: (() => void)[] = [];
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    // EIO: the terminal itself is gone. Anything else (a full disk behind `>`) must not pass for a good run.
    if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
    if (closed) return;
    closed = true;
    for (const callback of callbacks) callback();
  });
  // Nobody is left to be told about it.
  stderr.on("error", () => {});
  const tty = stdout.isTTY === true;
  return {
    out(text) {
      if (!closed) stdout.write(text);
    },
    err(text) {
      stderr.write(text);
    },
    tty,
    live: tty && env.TERM !== "dumb",
    colour: colourWanted(env, tty),
    columns: () => stdout.columns || 80,
    rows: () => stdout.rows || 24,
    onClosed(callback) {
      callbacks.push(callback);
    },
  };
}
