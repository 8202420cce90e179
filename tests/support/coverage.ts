/** With AIODIO_COVERAGE, the processes that tests start tell there what they have reached (`scripts/coverage.js`). */
const { AIODIO_COVERAGE } = process.env;
if (AIODIO_COVERAGE !== undefined) process.env.NODE_V8_COVERAGE = AIODIO_COVERAGE;
