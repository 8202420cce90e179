#!/usr/bin/env node
import { standalone } from "./shared/standalone.js";

await standalone("uring_short_read");
