/** A word that a POSIX shell takes for just this text. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** What is before a command that stands for itself, and not for a file that has it. */
export const ALONE = "-- ";
