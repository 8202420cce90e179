/** The programs that a runtest line may name. Made from testcases/ by scripts/registry.js: change it there. */
import type { Testcase } from "./testcase.js";

export interface Program {
  name: string;
  summary: string;
  load(): Promise<Testcase>;
}

function program(name: string, summary: string, load: () => Promise<{ default: unknown }>): [string, Program] {
  return [name, { name, summary, load: async () => (await load()).default as Testcase }];
}

export const programs: ReadonlyMap<string, Program> = new Map([
  program("aio01", "asynchronous writes and reads, one at a time, whose results and data are checked", () => import("../../testcases/aio01.js")),
  program("aio02", "asynchronous writes and reads, 32 at once, directly and through the page cache", () => import("../../testcases/aio02.js")),
  program("aio_signal_stress", "asynchronous, direct and buffered I/O by many threads under a storm of signals", () => import("../../testcases/aio_signal_stress.js")),
  program("aio-stress", "write and read files in order and at random with many requests in flight, and verify all of it", () => import("../../testcases/aio_stress.js")),
  program("aio_unwritten", "read back asynchronous writes into space without data the moment they complete", () => import("../../testcases/aio_unwritten.js")),
  program("aiocp", "copy a file with asynchronous or direct I/O and verify the copy down to the disk", () => import("../../testcases/aiocp.js")),
  program("aiodio_append", "append to a file with asynchronous direct writes while others read its end", () => import("../../testcases/aiodio_append.js")),
  program("aiodio_sparse", "fill a sparse file with asynchronous direct writes while others read it", () => import("../../testcases/aiodio_sparse.js")),
  program("dio_append", "append to a file with direct writes while others read its end", () => import("../../testcases/dio_append.js")),
  program("dio_invalidate", "write directly beside other uses of the same pages", () => import("../../testcases/dio_invalidate.js")),
  program("dio_races", "provoke further races of asynchronous and direct I/O, one after another", () => import("../../testcases/dio_races.js")),
  program("dio_read", "read a file directly while others fill its holes through the page cache", () => import("../../testcases/dio_read.js")),
  program("dio_sparse", "fill a sparse file with direct writes while others read it", () => import("../../testcases/dio_sparse.js")),
  program("dio_truncate", "extend and truncate a file with direct I/O while others read it directly", () => import("../../testcases/dio_truncate.js")),
  program("diotest1", "writes and copies a file with direct I/O, block by block", () => import("../../testcases/diotest1.js")),
  program("diotest2", "writes a block and reads it back, with direct I/O on one side or on both", () => import("../../testcases/diotest2.js")),
  program("diotest3", "children write and read back neighbouring blocks, with direct I/O on one side or on both", () => import("../../testcases/diotest3.js")),
  program("diotest4", "direct I/O that must fail with the right errno, and direct I/O that must work in spite of everything", () => import("../../testcases/diotest4.js")),
  program("diotest5", "writes a vector of buffers and reads it back, with direct I/O on one side or on both", () => import("../../testcases/diotest5.js")),
  program("diotest6", "children write and read back neighbouring vectors, with direct I/O on one side or on both", () => import("../../testcases/diotest6.js")),
  program("dma_thread_diotest", "reads files directly, in several threads, while another thread forks", () => import("../../testcases/dma_thread_diotest.js")),
  program("fsx-linux", "do random operations on a file, compare each with a model, and verify the file on the disk", () => import("../../testcases/fsx_linux.js")),
  program("mmap_fork_dio", "write directly from memory that a child or a thread changes meanwhile", () => import("../../testcases/mmap_fork_dio.js")),
  program("uring_short_read", "buffered reads through io_uring while the page cache is disturbed: each must be complete and right", () => import("../../testcases/uring_short_read.js")),
]);
