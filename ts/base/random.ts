/** Chance, where a seed is not given. */
import { closeSync, openSync, readSync } from "node:fs";

/** 64 random bits. node:crypto has them too, and takes longer to load than a short testcase to run. */
export function randomNumber(): bigint {
  const bytes = Buffer.alloc(8);
  const fd = openSync("/dev/urandom", "r");
  readSync(fd, bytes);
  closeSync(fd);
  return bytes.readBigUInt64LE();
}
