#!/usr/bin/env node
import { runStandalone } from "../dist/ts/run/standalone.js";

process.exit(await runStandalone("aio-stress", process.argv.slice(2)));
