/** What the kernel's messages come to for the testcase that they are about, in the words of result lines. */
import type { KernelFinding } from "../events/events.js";

/** One message with its result lines: none where no rule knows it, or where it is about something else. */
export interface Judged {
  /** Without its verdict where the testcase itself explains the message. */
  finding: KernelFinding;
  lines: { result: "TFAIL" | "TINFO"; text: string }[];
}

/** @param permitted the rules that the testcase explains, and why */
export function* judge(findings: Iterable<KernelFinding>, permitted: ReadonlyMap<string, string>): Generator<Judged> {
  // What a rule means is said once: a kernel that complains at all complains for every block.
  const explained = new Set<string>();
  for (const heard of findings) {
    const finding = excused(heard, permitted);
    const { rule, verdict, text, explanation, elsewhere, class: kind } = finding;
    const lines: Judged["lines"] = [];
    if (rule !== undefined && kind !== undefined && !elsewhere) {
      const [first = ""] = text.split("\n");
      lines.push({ result: verdict ?? "TINFO", text: `kernel: ${first}${whose(finding)}` });
      if (explanation !== undefined && !explained.has(rule)) {
        explained.add(rule);
        lines.push({ result: "TINFO", text: `kernel: ${rule}: ${explanation}` });
      }
    }
    yield { finding, lines };
  }
}

function whose({ permitted, shared }: KernelFinding): string {
  if (permitted) return ` (permitted: ${permitted})`;
  return shared ? " (may be of a testcase that ran at the same time)" : "";
}

/** A finding that the testcase itself explains judges nothing. */
function excused(finding: KernelFinding, permitted: ReadonlyMap<string, string>): KernelFinding {
  const because = finding.rule === undefined ? undefined : permitted.get(finding.rule);
  if (because === undefined || finding.verdict === undefined) return finding;
  const { verdict: _, ...rest } = finding;
  return { ...rest, permitted: because };
}
