#!/usr/bin/env node
import { runStandalone } from "../dist/ts/run/standalone.js";

process.exit(await runStandalone("dma_thread_diotest", process.argv.slice(2)));
