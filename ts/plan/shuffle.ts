/** A shuffle that a printed seed brings back, on any machine and any version of Node. */
import { randomInt } from "node:crypto";
import { UsageError } from "../base/errors.js";

const SEEDS = 2 ** 32;

/** A seed nobody chose. */
export function randomSeed(): string {
  return String(randomInt(SEEDS));
}

/** Checks a seed that somebody chose. */
export function checkSeed(text: string): string {
  if (!/^\d{1,10}$/.test(text) || Number(text) >= SEEDS) {
    throw new UsageError(`--shuffle: "${text}" is no seed: give a whole number from 0 to ${SEEDS - 1}, or none`);
  }
  return String(Number(text));
}

/** splitmix32: 32-bit integers from 32 bits of state; integers only, so that it is the same everywhere. */
export function splitmix32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
}

/** A new array in an order that depends on the seed alone (Fisher–Yates). */
export function shuffled<Item>(items: readonly Item[], seed: string): Item[] {
  const next = splitmix32(Number(seed));
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const choices = last + 1;
    // Draws above the largest multiple of `choices` would favour small numbers: drawn again.
    const fair = SEEDS - (SEEDS % choices);
    let draw = next();
    while (draw >= fair) draw = next();
    const other = draw % choices;
    [result[last], result[other]] = [result[other] as Item, result[last] as Item];
  }
  return result;
}
