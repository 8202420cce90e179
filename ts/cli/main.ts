/** The command `aiodio-ltp`: picks what to do, and turns every way to end into an exit status. */

import { UsageError } from "../base/errors.js";
import { EXIT } from "../base/exit.js";
import { type CommandLine, commandHelp, helpText, parseCommandLine } from "./flags.js";
import { processSystem, type System } from "./system.js";

/** Runs the command and returns its exit status. */
export async function main(args: readonly string[], system: System = processSystem()): Promise<number> {
  try {
    if (args.length === 0 && system.terminal.tty) return await (await import("./overview.js")).overview(system);
    return await dispatch(parseCommandLine(args), system);
  } catch (error) {
    if (error instanceof UsageError) {
      system.terminal.err(`aiodio-ltp: ${error.message}\n`);
      return EXIT.usage;
    }
    // A failed system call explains itself by its message; anything else is a bug, and its stack says where.
    const { code, message, stack } = error as NodeJS.ErrnoException;
    const cause = /^E(?!RR_)/.test(code ?? "") ? message : (stack ?? String(error));
    system.terminal.err(`aiodio-ltp: cannot go on: ${cause}\n`);
    return EXIT.broken;
  }
}

async function dispatch({ command, flags, operands, line }: CommandLine, system: System): Promise<number> {
  const { terminal } = system;
  if (flags.help || command === "help") {
    const [name] = command === "help" ? operands : [];
    terminal.out(name === undefined ? helpText() : commandHelp(name));
    return EXIT.ok;
  }
  if (flags.version) {
    terminal.out(`${(await import("../base/package.js")).version}\n`);
    return EXIT.ok;
  }
  // Each command is loaded only when it is asked for.
  switch (command) {
    case "run":
      return (await import("./run.js")).run(flags, { words: operands, line }, system);
    case "list":
      return (await import("./list.js")).list(flags, operands, system);
    case "doctor":
      return (await import("./doctor.js")).doctor(flags, operands, system);
    case "guest":
      return (await import("./guest.js")).guest(flags, operands, system);
    case "agent":
      return (await import("./agent.js")).agent(operands, system);
    case "selftest":
      return (await import("./selftest.js")).selftest(flags, operands, system);
    case "explain":
      return (await import("./explain.js")).explain(flags, operands, system);
    case "report":
      return (await import("./report.js")).report(flags, operands, system);
    case "compare":
      return (await import("./compare.js")).compare(flags, operands, system);
    case "merge":
      return (await import("./merge.js")).merge(flags, operands, system);
    case "exec":
      return (await import("./exec.js")).exec(operands);
    case "install-ltproot":
      return (await import("./install-ltproot.js")).installLtproot(operands, system);
  }
}
