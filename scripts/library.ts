/** What scripts, benches and tests take of the package beside its programs; built with it, and no part of it. */
export { call } from "#native";
export { execPath } from "../ts/base/package.js";
export { Faultfs } from "../ts/filesystem/faultfs.js";
export { Filesystem } from "../ts/filesystem/provision.js";
export { parseFilesystems } from "../ts/filesystem/variants.js";
export { Cache } from "../ts/guest/cache.js";
export { SUITES } from "../ts/guest/name.js";
export { openKernelReader } from "../ts/kernel/reader.js";
export { remountAll } from "../ts/linux/mounts.js";
export { loadRuntest } from "../ts/plan/resolve.js";
export { runCommand, runTool, startPeer } from "../ts/process/run.js";
export { Worker } from "../ts/run/worker.js";
export { withTables } from "./tables.js";
