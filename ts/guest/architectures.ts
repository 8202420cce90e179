/** The machines that guests can be: what differs between architectures is in this table and nowhere else. */

/** A page size as names have it. */
export type PageSize = "4k" | "16k" | "64k";

export interface Architecture {
  /** As the user writes it, and Debian's name for amd64 and arm64. */
  name: string;
  /** Other names that people know it by. */
  aliases: readonly string[];
  /** Debian's name. */
  debian: string;
  /** `uname -m`. */
  uname: string;
  /** `process.arch` of a Node that runs there. */
  node: string;
  /** Rust's target. */
  rustTarget: string;
  /** napi-rs's suffix of addons and platform packages. */
  napi: string;
  /** Debian packages of a C compiler that links for it. */
  crossPackages: readonly string[];
  crossLinker: string;
  qemu: string;
  /** Machine and emulated CPU; `accelerated`: with the host's CPU. */
  machine(accelerated: boolean): readonly string[];
  console: string;
  /** By page size. */
  pageSizes: Readonly<Record<string, PageSizeRow>>;
  defaultPageSize: PageSize;
}

interface PageSizeRow {
  /** Debian's kernel flavours that may have this page size, best first; the kernel's config is what counts. */
  flavours: readonly string[];
}

export const ARCHITECTURES: readonly Architecture[] = [
  {
    name: "amd64",
    aliases: ["x86_64", "x64"],
    debian: "amd64",
    uname: "x86_64",
    node: "x64",
    rustTarget: "x86_64-unknown-linux-gnu",
    napi: "linux-x64-gnu",
    crossPackages: ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"],
    crossLinker: "x86_64-linux-gnu-gcc",
    qemu: "qemu-system-x86_64",
    machine: (accelerated) => ["-M", "q35", "-cpu", accelerated ? "host" : "max"],
    console: "ttyS0",
    pageSizes: { "4k": { flavours: ["amd64"] } },
    defaultPageSize: "4k",
  },
  {
    name: "arm64",
    aliases: ["aarch64"],
    debian: "arm64",
    uname: "aarch64",
    node: "arm64",
    rustTarget: "aarch64-unknown-linux-gnu",
    napi: "linux-arm64-gnu",
    crossPackages: ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
    crossLinker: "aarch64-linux-gnu-gcc",
    qemu: "qemu-system-aarch64",
    // cortex-a57 has no 16 KiB pages, and `max` takes three times as long.
    machine: (accelerated) => ["-M", "virt", "-cpu", accelerated ? "host" : "neoverse-n1"],
    console: "ttyAMA0",
    pageSizes: { "4k": { flavours: ["arm64"] }, "16k": { flavours: ["arm64-16k"] } },
    defaultPageSize: "4k",
  },
  {
    name: "ppc64le",
    aliases: ["ppc64el", "powerpc64le"],
    debian: "ppc64el",
    uname: "ppc64le",
    node: "ppc64",
    rustTarget: "powerpc64le-unknown-linux-gnu",
    napi: "linux-ppc64-gnu",
    crossPackages: ["gcc-powerpc64le-linux-gnu", "libc6-dev-ppc64el-cross"],
    crossLinker: "powerpc64le-linux-gnu-gcc",
    qemu: "qemu-system-ppc64",
    // x-vof: a small firmware instead of one that takes 6 s. The capabilities are those that TCG does not have.
    machine: (accelerated) => [
      "-M",
      "pseries,x-vof=on,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off",
      "-cpu",
      accelerated ? "host" : "power9",
    ],
    console: "hvc0",
    // Up to 6.1 the plain flavour has 64 KiB pages; since 6.12 it has 4 KiB, and a flavour of its own has 64.
    pageSizes: {
      "64k": { flavours: ["powerpc64le-64k", "powerpc64le"] },
      "4k": { flavours: ["powerpc64le"] },
    },
    defaultPageSize: "64k",
  },
];
