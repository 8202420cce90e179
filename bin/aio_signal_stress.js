#!/usr/bin/env node
import { standalone } from "./shared/standalone.js";

await standalone("aio_signal_stress");
