/** Reading and damaging files behind the back of the testcase that works on them. */
import { closeSync, fsyncSync, openSync, readFileSync, readSync, writeSync } from "node:fs";

export function readAt(path: string, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const fd = openSync(path, "r");
  readSync(fd, bytes, 0, length, offset);
  closeSync(fd);
  return bytes;
}

/** Writes through the page cache and down to the disk. */
export function writeAt(path: string, offset: number, bytes: Uint8Array): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, offset);
  fsyncSync(fd);
  closeSync(fd);
}

/** Changes each byte of a range, whatever it holds: a fixed value may be what a random payload has there already. */
export function invertAt(path: string, offset: number, length = 1): void {
  writeAt(
    path,
    offset,
    readAt(path, offset, length).map((byte) => ~byte),
  );
}

/** Replaces every copy of some content in a filesystem's image, behind the filesystem's back; how many there were. */
export function replaceOnDisk(image: string, from: Buffer, to: Buffer): number {
  const content = readFileSync(image);
  let replaced = 0;
  for (let at = content.indexOf(from); at >= 0; at = content.indexOf(from, at + from.length)) {
    writeAt(image, at, to);
    replaced += 1;
  }
  return replaced;
}
