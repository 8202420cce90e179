/** The field's words for what a bad range is (the core's `BadKind`), with one plain sentence for each. */

interface Word {
  term: string;
  sentence: string;
}

const WORDS: Record<string, Word> = {
  zeros: { term: "lost write", sentence: "A write was reported as done, and zeros are there." },
  misplaced: { term: "misdirected write", sentence: "The data are right, and belong to another place of the file." },
  stale: { term: "stale data", sentence: "Data of an earlier write are there." },
  "stale-disk": { term: "exposed stale data", sentence: "What was on the disk before the test can be read." },
  "other-file": { term: "misdirected write", sentence: "Data of another file are there." },
  "other-run": { term: "exposed stale data", sentence: "Data of an earlier run are there." },
  torn: { term: "torn write", sentence: "A part of the sector is of one write, the rest of another." },
  mutated: { term: "corrupted data", sentence: "The data are the right ones, with bytes changed." },
  garbage: { term: "corrupted data", sentence: "Something is there that no test wrote." },
  missing: { term: "lost size update", sentence: "The file is shorter than it should be." },
  "beyond-end": { term: "wrong size", sentence: "The file is longer than it should be." },
  "read-error": { term: "read error", sentence: "The data could not be read." },
  "read-error-once": { term: "passing read error", sentence: "A read failed, and succeeded when it was made again." },
};

/** A kind that is newer than this table is its own name. */
export const wordFor = (kind: string): Word => WORDS[kind] ?? { term: kind, sentence: "" };
