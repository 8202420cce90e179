import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    // The closing line of CI's log is read by tools: it comes from the runner's own results.
    reporters: ["default", "./tests/support/closing-line.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Tests of the command line start processes of their own: more files at once than cores only adds noise.
    maxWorkers: 2,
  },
});
