#!/usr/bin/env node
import { runStandalone } from "../dist/ts/run/standalone.js";

process.exit(await runStandalone("uring_short_read", process.argv.slice(2)));
