/** What a keeper tells the fault filesystem's server process in its one argument, as JSON. */
export interface ServerStart {
  /** Path of the socket for orders, which the server makes. */
  control: string;
  /** The block device that the mount lies on. */
  device: string;
  capacityBytes: number;
  rules: readonly string[];
}

/** What the server writes to its standard output when it serves. */
export const READY = "ready\n";
