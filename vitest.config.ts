import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    // The closing line of CI's log is read by tools: it comes from the runner's own results.
    reporters: ["default", "./tests/support/closing-line.ts"],
    // Only for what hangs: a slow machine under load is no failure.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // Tests of the command line start processes of their own: more files at once than cores only adds noise.
    maxWorkers: 2,
  },
});
