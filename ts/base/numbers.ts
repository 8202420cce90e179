/** Numbers as LTP's options take them (its `tst_parse_int` and `tst_parse_filesize`), and nothing more lenient. */

const SUFFIXES: Record<string, bigint> = { k: 1n << 10n, m: 1n << 20n, g: 1n << 30n };
const INT_MAX = 2 ** 31 - 1;

/** A whole decimal number within [min, max] (by default 1..INT_MAX), or undefined. Leading blanks and a sign are accepted, as by strtol(3). */
export function parseInteger(text: string, min = 1, max = INT_MAX): number | undefined {
  if (!/^\s*[+-]?\d+$/.test(text)) return undefined;
  const value = Number(text);
  return value >= min && value <= max ? value : undefined;
}

/**
 * A size in bytes, at least 1 (or `min`) and exactly representable: decimal, `0x…` or octal `0…` with one optional trailing
 * character. k, m and g (either case) multiply by powers of 1024; LTP ignores any other single character, so do we.
 */
export function parseSize(text: string, min = 1): number | undefined {
  const match = /^\s*\+?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)(.?)$/s.exec(text);
  if (!match) return undefined;
  const [, digits = "", suffix = ""] = match;
  const literal = /^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits;
  const value = BigInt(literal) * (SUFFIXES[suffix.toLowerCase()] ?? 1n);
  return value >= BigInt(min) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
}

/** An unsigned 64-bit number, decimal or `0x…`, or undefined: seeds. */
export function parseSeed(text: string): bigint | undefined {
  if (!/^(0[xX][0-9a-fA-F]+|\d+)$/.test(text)) return undefined;
  const value = BigInt(text);
  return value < 1n << 64n ? value : undefined;
}

/** A number of seconds, at least `min`, or undefined. */
export function parseSeconds(text: string, min: number): number | undefined {
  const value = Number(text);
  return /^\s*\d*\.?\d+\s*$/.test(text) && value >= min ? value : undefined;
}

/** `2097152` → `2 MiB`; numbers that are no whole multiple stay in smaller units. */
export function formatBytes(bytes: number): string {
  for (const [unit, size] of [
    ["GiB", 2 ** 30],
    ["MiB", 2 ** 20],
    ["KiB", 2 ** 10],
  ] as const) {
    if (bytes >= size && bytes % size === 0) return `${bytes / size} ${unit}`;
  }
  return `${bytes} bytes`;
}
