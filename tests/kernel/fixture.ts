/** A kernel log that says what a test wants. */
import { KernelReader, type RecordSource } from "../../ts/kernel/reader.js";

const KERNEL_ERROR = 3;

export class FakeLog {
  #queue: ReturnType<RecordSource>[] = [];
  #sequence = 0;
  /** The kernel's clock. */
  seconds = 100;

  readonly reader = new KernelReader(() => this.#queue.shift() ?? "end");

  /** One record a line. */
  say(...lines: string[]): void {
    for (const line of lines) this.sayAs(KERNEL_ERROR, "", line);
  }

  /** With a priority and further fields of the header, such as `,caller=T1`. */
  sayAs(priority: number, fields: string, line: string): void {
    this.#queue.push(
      Buffer.from(`${priority},${this.#sequence},${Math.round(this.seconds * 1e6)},-${fields};${line}\n`),
    );
    this.#sequence += 1;
  }

  /** The buffer was too small for this many records. */
  lose(records: number): void {
    this.#sequence += records;
    this.#queue.push("lost");
  }
}
