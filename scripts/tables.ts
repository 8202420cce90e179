/** The tables of docs/ that are made from the program's own: each stands there between `<!-- NAME -->` and `<!-- /NAME -->`. */
import { faultTable, raceTable } from "#native";
import { optionsMarkdown } from "../ts/cli/flags.js";
import { FAMILIES } from "../ts/filesystem/variants.js";
import { linkOf, RULES } from "../ts/kernel/rules.js";
import { table } from "../ts/report/markdown.js";
import { programs } from "../ts/testcase/registry.js";

/** Text in a cell. */
const cell = (text: string) => text.replaceAll(/[|<*_]/g, "\\$&").replaceAll(/\s+/g, " ");
const code = (text: string) => `\`${text.replaceAll("|", "\\|")}\``;

export const TABLES: Readonly<Record<string, () => string>> = {
  options: optionsMarkdown,

  programs: () =>
    table(
      ["program", "what it does"],
      [...programs.values()].map(({ name, summary }) => [code(name), cell(summary)]),
    ),

  filesystems: () =>
    table(
      ["name", "what it is", "kernel option"],
      Object.entries(FAMILIES).flatMap(([family, { modifiers, kernelOption }]) => [
        [code(family), "", code(kernelOption)],
        ...Object.entries(modifiers).map(([name, settings]) => [
          code(`${family}:${name}`),
          settings.map(([key, value]) => code(`${key}=${value}`)).join(" "),
          "",
        ]),
      ]),
    ),

  faults: () =>
    table(
      ["fault", "what it does", "of", "parameters"],
      faultTable().map(({ name, meaning, operations, parameters }) => [
        ...[code(name), cell(meaning), operations.join(", ")],
        parameters
          .map(({ name, default: value, meaning }) => `${code(`${name}=${value}`)} ${cell(meaning)}`)
          .join("; "),
      ]),
    ),

  races: () =>
    table(
      ["race", "what happens", "runs"],
      raceTable().map(({ name, story, onRequest }) => [
        code(name),
        cell(story),
        onRequest ? "by its name only" : "always",
      ]),
    ),

  rules: () =>
    table(
      ["rule", "class", "what it means", "more"],
      RULES.map((rule) => [code(rule.name), rule.class, cell(rule.means), `[source or report](${linkOf(rule)})`]),
    ),
};

/** The text with all of its tables as they are now. */
export function withTables(text: string): string {
  return text.replaceAll(/(<!-- (\w+) -->\n)(?:.*?\n)??(<!-- \/\2 -->)/gs, (_, begin, name, end) => {
    const made = TABLES[name];
    if (!made) throw new Error(`there is no table ${name}: there are ${Object.keys(TABLES).join(", ")}`);
    return `${begin}\n${made().trim()}\n\n${end}`;
  });
}
