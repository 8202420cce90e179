/** What an abandoned worker becomes where its workload keeps its directory from being removed: argument 1 is the directory. */

import { SIGNALS } from "../process/interruption.js";
import { removeTmpdir } from "../testcase/tmpdir.js";

// As for the worker: a service manager signals all processes of its group at once.
for (const signal of SIGNALS) process.on(signal, () => {});

removeTmpdir(process.argv[2] ?? "");
