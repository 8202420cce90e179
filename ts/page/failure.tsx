/** All that is known of one testcase that did not pass. */
import { formatBytes } from "../base/numbers.js";
import type { BadFile, Extent, Failure, KernelMessage, Operation, Range } from "./data.js";
import { byteHex, hex, seconds } from "./format.js";
import { barsOf } from "./lanes.js";
import { wordFor } from "./words.js";

/** Width of drawings, in their own units. */
const WIDTH = 1000;

export function CopyButton({ text }: { text: string }) {
  const copy = (event: MouseEvent) => {
    const button = event.currentTarget as HTMLButtonElement;
    // A page that was opened from a file may be refused the clipboard.
    navigator.clipboard?.writeText(text).then(
      () => {
        button.textContent = "copied";
      },
      () => {
        button.textContent = "select it by hand";
      },
    );
  };
  return (
    <button type="button" class="copy" onClick={copy}>
      copy
    </button>
  );
}

export function Command({ text }: { text: string }) {
  return (
    <div class="command">
      <code>{text}</code>
      <CopyButton text={text} />
    </div>
  );
}

/** A bar from and to offsets of a file, never too thin to be seen. */
function Span({
  of,
  bytes,
  y,
  height,
  kind,
  title,
}: {
  of: number;
  bytes: [number, number];
  y: number;
  height: number;
  kind: string;
  title: string;
}) {
  const scale = WIDTH / Math.max(1, of);
  const width = Math.max(3, bytes[1] * scale);
  return (
    <rect class={kind} x={Math.min(bytes[0] * scale, WIDTH - width)} y={y} width={width} height={height}>
      <title>{title}</title>
    </rect>
  );
}

const extentText = ({ offset, bytes, physical, states }: Extent) =>
  `${hex(offset)}, ${formatBytes(bytes)}: ${physical > 0 ? `at ${hex(physical)} of the device` : "nowhere yet"}, ${states.join(", ") || "written"}`;

/** The file from its beginning to its end: what is wrong, and what lies under it. */
function FileStrip({ file }: { file: BadFile }) {
  const extents = file.ranges.flatMap(({ extents = [] }) => extents);
  return (
    <figure>
      <svg viewBox={`0 0 ${WIDTH} 66`} role="img" aria-label={`Bad ranges of ${file.name}, ${formatBytes(file.bytes)}`}>
        <rect class="file" x="0" y="4" width={WIDTH} height="26" />
        {file.ranges.map((range) => (
          <Span
            key={`${range.offset} ${range.kind}`}
            of={file.bytes}
            bytes={[range.offset, range.bytes]}
            y={4}
            height={26}
            kind="bad"
            title={`${wordFor(range.kind).term}: ${formatBytes(range.bytes)} at ${hex(range.offset)}`}
          />
        ))}
        {extents.map((extent) => (
          <Span
            key={`${extent.offset} ${extent.physical}`}
            of={file.bytes}
            bytes={[extent.offset, extent.bytes]}
            y={36}
            height={10}
            kind={extent.states.includes("unwritten") ? "extent unwritten" : "extent"}
            title={extentText(extent)}
          />
        ))}
        <text x="0" y="62">
          0
        </text>
        <text x={WIDTH} y="62" text-anchor="end">
          {formatBytes(file.bytes)}
        </text>
      </svg>
      <figcaption>{file.name}: bad ranges, and below them the extents on the disk (striped: unwritten)</figcaption>
    </figure>
  );
}

function Dump({ at, expected, found }: NonNullable<Range["dump"]>) {
  const starts = Array.from({ length: Math.ceil(found.length / 16) }, (_, row) => row * 16);
  const bytes = (all: number[], other: number[], start: number) =>
    Array.from({ length: 16 }, (_, column) => start + column).map((index) => (
      <span key={index} class={all[index] === other[index] ? "" : "differs"}>
        {byteHex(all[index])}{" "}
      </span>
    ));
  return (
    <div class="scroll">
      <table class="dump">
        <thead>
          <tr>
            <th scope="col">offset</th>
            <th scope="col">expected</th>
            <th scope="col">found</th>
          </tr>
        </thead>
        <tbody>
          {starts.map((start) => (
            <tr key={start}>
              <th scope="row">{hex(at + start)}</th>
              <td>{bytes(expected, found, start)}</td>
              <td>{bytes(found, expected, start)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Operations in flight, and what the kernel said meanwhile, on one axis. */
function Timeline({
  operations,
  touched,
  kernel,
}: {
  operations: Operation[];
  touched: Set<number>;
  kernel: KernelMessage[];
}) {
  if (operations.length === 0) return null;
  const begin = Math.min(...operations.map((one) => one.begin));
  const end = Math.max(...operations.map((one) => one.end ?? one.begin));
  // What was said long before or after would make everything else a single point.
  const margin = Math.max(end - begin, 0.001);
  const messages = kernel.flatMap(({ seconds: at, text }) =>
    at !== undefined && at > begin - margin && at < end + margin ? [{ at, text }] : [],
  );
  const { bars, from, to, place } = barsOf(
    operations,
    messages.map(({ at }) => at),
  );
  const lanes = Math.max(...bars.map(({ lane }) => lane)) + 1;
  const height = lanes * 16 + 26;
  return (
    <figure>
      <svg viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={`Timeline of ${operations.length} operations`}>
        {bars.map(({ operation, lane, begin, end }) => (
          <rect
            key={operation.id}
            class={`${touched.has(operation.id) ? "touched" : "beside"} ${operation.changes ? "change" : "read"} ${operation.end === undefined ? "open" : ""}`}
            x={begin * WIDTH}
            y={lane * 16 + 2}
            width={Math.max(2, (end - begin) * WIDTH)}
            height="12"
          >
            <title>{operation.line}</title>
          </rect>
        ))}
        {messages.map(({ at, text }) => {
          const x = place(at) * WIDTH;
          return (
            <g key={`${at} ${text}`} class="message">
              <line x1={x} x2={x} y1="0" y2={height - 18} />
              <title>{text}</title>
            </g>
          );
        })}
        <text x="0" y={height - 4}>
          {from.toFixed(6)} s
        </text>
        <text x={WIDTH} y={height - 4} text-anchor="end">
          + {seconds(to - from)}
        </text>
      </svg>
      <figcaption>
        Operations on the kernel's clock: dark touch the range, light were in flight meanwhile
        {messages.length > 0 ? "; lines are messages of the kernel" : ""}
      </figcaption>
      <ol class="operations">
        {bars.map(({ operation }) => (
          <li key={operation.id} class={touched.has(operation.id) ? "touched" : ""}>
            <code>{operation.line}</code>
          </li>
        ))}
      </ol>
    </figure>
  );
}

function RangeDetail({ range, file, kernel }: { range: Range; file: string; kernel: KernelMessage[] }) {
  const { term, sentence } = wordFor(range.kind);
  const right = range.right.map((one) => (one === "zeros" ? one : `generation ${one}`)).join(" or ");
  const touched = new Set(range.touched.map(({ id }) => id));
  const beside = range.beside.filter(({ id }) => !touched.has(id));
  return (
    <section class="range">
      <h4>
        {term}: {formatBytes(range.bytes)} of {file} at {hex(range.offset)}
      </h4>
      <p>
        {sentence} Looks like this: {range.sentence}.
      </p>
      <p>
        {range.where}
        {right === "" ? "" : `; right would be ${right}`}
        {range.extents?.length === 0 ? "; on the disk: a hole" : ""}
      </p>
      {range.dump && <Dump {...range.dump} />}
      {range.extents && range.extents.length > 0 && (
        <ul class="extents">
          {range.extents.map((extent) => (
            <li key={`${extent.offset} ${extent.physical}`}>{extentText(extent)}</li>
          ))}
        </ul>
      )}
      <Timeline operations={[...range.touched, ...beside]} touched={touched} kernel={kernel} />
    </section>
  );
}

function Kernel({ messages }: { messages: KernelMessage[] }) {
  if (messages.length === 0) return null;
  return (
    <section>
      <h4>What the kernel said</h4>
      <ul class="kernel">
        {messages.map(({ seconds: at, text, explanation, link }) => (
          <li key={`${at} ${text}`}>
            <pre>
              {at === undefined ? "" : `[${at.toFixed(6)}] `}
              {text}
            </pre>
            {explanation} {link && <a href={link}>{link}</a>}
          </li>
        ))}
      </ul>
    </section>
  );
}

export function FailureDetail({ failure }: { failure: Failure }) {
  return (
    <div class="detail">
      {failure.repeat !== undefined && <Command text={failure.repeat} />}
      {failure.files.map((file) => (
        <section key={file.name}>
          <FileStrip file={file} />
          {file.ranges.map((range) => (
            <RangeDetail key={`${range.offset} ${range.kind}`} range={range} file={file.name} kernel={failure.kernel} />
          ))}
        </section>
      ))}
      <Timeline operations={failure.operations} touched={new Set()} kernel={failure.kernel} />
      <Kernel messages={failure.kernel} />
      <details>
        <summary>Result lines</summary>
        <pre>{failure.output}</pre>
      </details>
    </div>
  );
}
