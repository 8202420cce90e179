#!/usr/bin/env node
import { runStandalone } from "../dist/ts/run/standalone.js";

process.exit(await runStandalone("aiodio_append", process.argv.slice(2)));
