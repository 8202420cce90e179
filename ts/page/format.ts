/** Numbers as the page shows them. */

export function seconds(value: number): string {
  if (value >= 100) return `${Math.round(value)} s`;
  if (value >= 1) return `${value.toFixed(1)} s`;
  if (value >= 0.001) return `${Math.round(value * 1000)} ms`;
  return `${Math.round(value * 1e6)} µs`;
}

export const hex = (value: number): string => `0x${value.toString(16)}`;

export const byteHex = (value: number | undefined): string =>
  value === undefined ? "  " : value.toString(16).padStart(2, "0");

/** A long name without its middle, so that its beginning and its end are still to be read. */
export function shortened(text: string, max: number): string {
  if (text.length <= max) return text;
  const half = Math.floor((max - 1) / 2);
  return `${text.slice(0, max - 1 - half)}…${text.slice(text.length - half)}`;
}
