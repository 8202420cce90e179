/**
 * The server process of one fault filesystem. It does nothing else, and never looks at what it serves: killed while it
 * waits for itself, it could not die. Started by `server.ts`; it ends with its standard input.
 */
import { serveFaultfs } from "#native";
import { SIGNALS } from "../process/interruption.js";
import { READY, type ServerStart } from "./server-protocol.js";

// A service manager signals all processes of its group at once: this one ends with its keeper.
for (const signal of SIGNALS) process.on(signal, () => {});

const start: ServerStart = JSON.parse(process.argv[2] ?? "");
const failure = serveFaultfs({ ...start, rules: [...start.rules] });
if (failure) {
  const { path, message, code } = failure;
  process.stderr.write(`${path === undefined ? "" : `${path}: `}${message}${code === undefined ? "" : `: ${code}`}\n`);
  process.exit(1);
}
process.stdout.write(READY);
process.stdin.on("close", () => process.exit(0));
process.stdin.resume();
