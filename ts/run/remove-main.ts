/** What an abandoned worker becomes where its workload keeps its directory from being removed: argument 1 is the directory. */

import { removeTmpdir } from "../testcase/tmpdir.js";
import { leaveSignals } from "./orphan.js";

leaveSignals();

removeTmpdir(process.argv[2] ?? "");
