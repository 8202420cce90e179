/** Commands whose system calls a seccomp filter answers, as a container's does. */
import { execa } from "execa";
import { plainEnvironment } from "./command.js";

/** The number of io_setup(2), by Node's name of the architecture: the one of our calls that is not the same everywhere. */
const IO_SETUP: Readonly<Record<string, number>> = { x64: 206, arm64: 0, riscv64: 0, ppc64: 227, s390x: 243 };

export const CALLS = { io_setup: IO_SETUP[process.arch] ?? -1, io_uring_setup: 425 };

/** A filter of one load, a comparison for each call, and two ends; then the command. Needs no root. */
const FILTER = `
import ctypes, os, struct, sys
errno, calls = int(sys.argv[1]), [int(call) for call in sys.argv[2].split(",")]
rows = [(0x20, 0, 0, 0)]
rows += [(0x15, len(calls) - index, 0, call) for index, call in enumerate(calls)]
rows += [(0x06, 0, 0, 0x7fff0000), (0x06, 0, 0, 0x00050000 | errno)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
program = Program(len(rows), ctypes.addressof(code))
prctl = ctypes.CDLL(None, use_errno=True).prctl
if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.byref(program), 0, 0):
    sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[3], sys.argv[3:])
`;

/** Runs a program, by its path, whose `calls` end in `errno`. */
export function withoutCalls(calls: readonly number[], errno: number, program: string, argv: string[], env = {}) {
  return execa("python3", ["-c", FILTER, String(errno), calls.join(), program, ...argv], {
    ...{ extendEnv: false, reject: false, all: true, stripFinalNewline: false },
    env: plainEnvironment(env),
  });
}
