#!/usr/bin/env node
import { runStandalone } from "../dist/ts/run/standalone.js";

process.exit(await runStandalone("mmap_fork_dio", process.argv.slice(2)));
