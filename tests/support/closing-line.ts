/** Prints the one closing line that CI reads, from vitest's own results; what the tests leave behind is a failure. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Reporter, TestModule, Vitest } from "vitest/node";

export default class ClosingLine implements Reporter {
  #temporary: string | undefined;

  onInit(vitest: Vitest): void {
    this.#temporary = vitest.config.env.TMPDIR;
  }

  /** What is left. No hook runs in a file of which all is skipped, so its empty directory is not counted. */
  #left(): string[] {
    const directory = this.#temporary;
    if (directory === undefined) return [];
    const isEmpty = (name: string) =>
      statSync(join(directory, name)).isDirectory() && readdirSync(join(directory, name)).length === 0;
    return readdirSync(directory).filter((name) => !(name.startsWith("aiodio-") && isEmpty(name)));
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0 };
    const reasons = new Map<string, number>();
    for (const module of modules) {
      const before = counts.passed + counts.failed + counts.skipped;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state !== "pending") counts[result.state] += 1;
        const reason = result.state === "skipped" ? result.note : undefined;
        if (reason !== undefined) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      }
      // A file that could not even be loaded has no tests to count.
      if (!module.ok() && counts.passed + counts.failed + counts.skipped === before) counts.failed += 1;
    }
    for (const [reason, skipped] of reasons) process.stdout.write(`${skipped} skipped: ${reason}\n`);
    for (const name of this.#left()) {
      process.stdout.write(`a test has left ${name} in its temporary directory\n`);
      counts.failed += 1;
      process.exitCode = 1;
    }
    process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
  }
}
