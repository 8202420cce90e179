/** What a guest's console says about how it is: boot, panic, and the last lines before it went silent. */
import { LineSplitter } from "../base/lines.js";

/** What our own init writes before its words, so that nothing else is taken for them. */
export const INIT_MARK = "aiodio-guest:";

/** Console lines that are kept for messages. */
const LINES_KEPT = 100;
/** Lines that a message shows where nothing more special is known. */
const TAIL_LINES = 20;
/** An oops and its call trace are shorter. */
const OOPS_LINES_MAX = 80;

const PANIC = /Kernel panic - not syncing(?:: (.*))?/;
/** First lines of what ends in a panic: x86, arm64 and powerpc have words of their own. */
const OOPS =
  /\b(?:BUG: (?:unable to handle|kernel NULL|Kernel NULL|Unable to handle|soft lockup)|kernel BUG at|Oops: |Internal error: |general protection fault|Unable to handle kernel|Kernel attempted to|Bad kernel stack|watchdog: BUG:)/;
/** `[   12.345678][  T12] `. */
const STAMP = /^\[\s*\d+\.\d+\](?:\[[^\]]*\])? ?/;

/** How far the boot has come. */
export type BootStage = "firmware" | "kernel" | "init" | "root" | "agent";

export class Console {
  private readonly splitter = new LineSplitter();
  private readonly lines: string[] = [];
  /** From the first line of an oops or panic on, without the kernel's stamps. */
  private readonly trouble: string[] = [];
  /** The panic's own words. */
  panic: string | undefined;
  /** What our init could not do. */
  failure: string | undefined;
  stage: BootStage = "firmware";

  /** Takes what the console has written, in pieces of any size. */
  push(bytes: Uint8Array): void {
    for (const line of this.splitter.push(bytes)) this.line(line);
  }

  private line(raw: string): void {
    // Consoles end lines with CR LF, and firmware draws with escapes.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what they are
    const line = raw.replaceAll(/\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f]/g, "").trimEnd();
    if (line === "") return;
    this.lines.push(line);
    if (this.lines.length > LINES_KEPT) this.lines.shift();
    const panic = PANIC.exec(line);
    if (panic) this.panic ??= panic[1] ?? "";
    const inTrouble = this.trouble.length > 0 || panic !== null || OOPS.test(line);
    if (inTrouble && this.trouble.length < OOPS_LINES_MAX && !line.startsWith(INIT_MARK)) {
      this.trouble.push(line.replace(STAMP, ""));
    }
    if (this.stage === "firmware" && STAMP.test(line)) this.stage = "kernel";
    if (line.startsWith(INIT_MARK)) this.init(line.slice(INIT_MARK.length).trim());
  }

  private init(words: string): void {
    if (words === "init" || words === "root" || words === "agent") this.stage = words;
    else if (words.startsWith("failed ")) this.failure ??= words.slice("failed ".length);
  }

  /** The last lines. */
  tail(count = TAIL_LINES): string[] {
    return this.lines.slice(-count);
  }

  /** From the first line of trouble on, without the kernel's stamps; the last lines where there is no trouble. */
  explanation(): string[] {
    return this.trouble.length > 0 ? [...this.trouble] : this.tail();
  }

  /** One sentence about a guest that is gone or silent. */
  describe(): string {
    if (this.panic !== undefined) return `kernel panic: ${this.panic || "(no reason given)"}`;
    if (this.trouble.length > 0) return `kernel: ${this.trouble[0]}`;
    if (this.failure !== undefined) return this.failure;
    const reached: Record<BootStage, string> = {
      firmware: "the kernel has said nothing",
      kernel: "the kernel has not come to its init",
      init: "the root has not been mounted",
      root: "Node has not started",
      agent: "it was running",
    };
    return reached[this.stage];
  }
}
