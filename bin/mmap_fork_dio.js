#!/usr/bin/env node
import { standalone } from "./shared/standalone.js";

await standalone("mmap_fork_dio");
