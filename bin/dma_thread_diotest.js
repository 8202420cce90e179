#!/usr/bin/env node
import { standalone } from "./shared/standalone.js";

await standalone("dma_thread_diotest");
