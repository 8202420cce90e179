#!/usr/bin/env node
import { runStandalone } from "../dist/ts/run/standalone.js";

process.exit(await runStandalone("aiodio_sparse", process.argv.slice(2)));
