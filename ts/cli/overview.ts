/** `aiodio-ltp` without anything, by somebody at a terminal: what this machine can test, and what most people want. */
import { EXIT } from "../base/exit.js";
import { examine } from "./doctor.js";
import type { System } from "./system.js";

const COMMANDS = [
  ["aiodio-ltp ltp-aiodio.part1", "LTP's 140 lines of copies, in a directory"],
  [
    "sudo aiodio-ltp ltp-aiodio.part1 --filesystems ext4,xfs,btrfs --reporter html=report.html",
    "on filesystems made for it",
  ],
  ["aiodio-ltp doctor", "what is missing here, and what brings it"],
] as const;

export async function overview(system: System): Promise<number> {
  const findings = await examine(undefined, system);
  const bad = findings.filter(({ state }) => state === "bad");
  const filesystems = findings.flatMap(({ name, state }) => {
    const [, made] = /^mkfs\.(\w+)$/.exec(name) ?? [];
    return made !== undefined && state === "ok" ? [made] : [];
  });
  const directory = findings.find(({ name }) => name === "directory");
  const lines = [
    ...(bad.length > 0
      ? bad.map(({ name, text }) => `Nothing can be tested here: ${name}: ${text}`)
      : [
          `This machine can test ${directory?.text ?? "in a directory"},`,
          `and make ${filesystems.join(", ") || "no filesystem"}.`,
        ]),
    "",
    ...COMMANDS.flatMap(([command, text]) => [`  ${command}`, `      ${text}`]),
    "",
    "aiodio-ltp help shows all commands and options.",
    "",
  ];
  system.terminal.out(lines.join("\n"));
  return bad.length > 0 ? EXIT.failed : EXIT.ok;
}
