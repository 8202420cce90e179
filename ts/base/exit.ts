/** Exit statuses of a run. */
export const EXIT = { ok: 0, failed: 1, usage: 2, broken: 3, nothingPassed: 5, interrupted: 130 } as const;
