/** For tests that plant faults: workloads that are watched. */
import type { Workloads } from "#native";

type Native = typeof import("#native");

/** What is done with a workload's options before it runs, and with its files and outcome after it. */
export type Watch = {
  [W in keyof Workloads]?: {
    before?(options: Workloads[W]["options"]): void;
    after?(options: Workloads[W]["options"], outcome: Workloads[W]["outcome"]): void;
  };
};

/** The addon for `vi.mock`. */
export async function watched(original: () => Promise<Native>, watch: Watch): Promise<Native> {
  const native = await original();
  const call: Native["call"] = async (workload, options, progress) => {
    watch[workload]?.before?.(options);
    const outcome = await native.call(workload, options, progress);
    watch[workload]?.after?.(options, outcome);
    return outcome;
  };
  return { ...native, call };
}
