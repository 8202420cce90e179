/**
 * What the kernel says during the one testcase of a command. Nearly always that is nothing, so the rules, which take longer to load
 * than all else here, are loaded when there is something to judge.
 */
import { realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { TestReport } from "../events/events.js";
import type { Judged } from "../kernel/judge.js";
import { type Drained, type KernelReader, kernelReaderOf, openKernelReader } from "../kernel/reader.js";
import type { KernelWatch } from "../kernel/watch.js";
import { readTaint } from "../linux/taint.js";

const KEY = "the testcase";

/** What is asked of the machine; for tests. */
export interface KernelSources {
  /** As {@link openKernelReader} answers. */
  reader: Pick<KernelReader, "drain" | "close"> | { unreadable: string };
  taint: () => bigint | undefined;
  /** The taint when the testcase began, where that was earlier. */
  taintBefore?: bigint;
  /** As `knownDevicesBehind` of linux/devices.ts has it, which is asked where this is absent. */
  devicesBehind?: (directory: string) => string[] | undefined;
}

/**
 * This machine's, with the kernel's log as whoever started this process has opened it.
 *
 * @param log its descriptor; -1 where that could not be had, and the reason is to be told
 */
export function kernelSources(log: number): KernelSources {
  return { reader: log >= 0 ? kernelReaderOf(log) : openKernelReader("/dev/kmsg"), taint: () => readTaint() };
}

export class KernelWindow {
  /** The kernel's taint at the beginning; undefined where it can't be read. */
  readonly taintBefore: bigint | undefined;
  private held: Drained = { records: [], lost: 0 };
  private place: Extract<TestReport, { type: "place" }> | undefined;
  private readonly permitted = new Map<string, string>();
  private watching: Promise<KernelWatch> | undefined;
  private watch: KernelWatch | undefined;

  /** Begins at the log's present end. */
  constructor(private readonly sources: KernelSources) {
    this.taintBefore = sources.taintBefore ?? sources.taint();
  }

  /** Learns what the testcase uses and what it explains. */
  hear(report: TestReport): void {
    if (report.type === "place") this.place = { ...report, directory: resolved(report.directory) };
    else if (report.type === "permit") this.permitted.set(report.rule, report.because);
  }

  /** Reads on: the log is a ring, and nothing may be overwritten unread. */
  poll(): void {
    if (this.watch) this.watch.poll();
    else if (this.hold() && this.place) void this.load();
  }

  /** Result lines of it all. None where the testcase did not begin: what the kernel said meanwhile is not about it. */
  async end(): Promise<Judged["lines"]> {
    if (!this.place) return [];
    const { reader } = this.sources;
    const note: Judged["lines"] = "unreadable" in reader ? [{ result: "TINFO", text: reader.unreadable }] : [];
    if (!this.watching && !this.hold() && this.sources.taint() === this.taintBefore) return note;
    const watch = await this.load();
    const { judge } = await import("../kernel/judge.js");
    return [...note, ...[...judge(watch.end(KEY), this.permitted)].flatMap(({ lines }) => lines)];
  }

  close(): void {
    if (!("unreadable" in this.sources.reader)) this.sources.reader.close();
  }

  /** Takes what there is; whether that is anything. */
  private hold(): boolean {
    const { reader } = this.sources;
    if ("unreadable" in reader) return false;
    const { records, lost } = reader.drain();
    this.held = { records: [...this.held.records, ...records], lost: this.held.lost + lost };
    return this.held.records.length > 0 || this.held.lost > 0;
  }

  private load(): Promise<KernelWatch> {
    this.watching ??= this.startWatch();
    return this.watching;
  }

  private async startWatch(): Promise<KernelWatch> {
    const [{ openKernelWatch }, { knownDevicesBehind }] = await Promise.all([
      import("../kernel/watch.js"),
      import("../linux/devices.js"),
    ]);
    const { reader, taint, devicesBehind = knownDevicesBehind } = this.sources;
    const taints = [this.taintBefore];
    const watch = openKernelWatch({
      ...(!("unreadable" in reader) && { reader: { drain: () => this.takeHeld(), close: () => {} } }),
      taint: () => (taints.length > 0 ? taints.pop() : taint()),
    });
    const { place } = this;
    const devices = place && devicesBehind(dirname(place.directory));
    watch.begin(KEY, {
      ...(place && { directories: [place.directory], pids: [place.pid] }),
      ...(devices && { devices }),
    });
    this.watch = watch;
    watch.poll();
    return watch;
  }

  /** What was held back until somebody could judge it, and what has come since. Nothing before the testcase has begun there. */
  private takeHeld(): Drained {
    if (!this.watch) return { records: [], lost: 0 };
    this.hold();
    const all = this.held;
    this.held = { records: [], lost: 0 };
    return all;
  }
}

/** As the kernel's messages name it. Its own name is no link, and it may be gone before somebody asks. */
function resolved(directory: string): string {
  try {
    return join(realpathSync(dirname(directory)), basename(directory));
  } catch {
    return directory;
  }
}
