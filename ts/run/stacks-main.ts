/** Prints where in the kernel a process and its children are: argument 3 is its number (see `command-main.ts` for the others). */
import { sessionStacks } from "../linux/stacks.js";

process.stderr.write(`${sessionStacks(Number(process.argv[4])).join("\n")}\n`);
