/** The page: what the run came to, filters, what did not pass, and every line as a cell. */
import { useLayoutEffect, useMemo, useState } from "preact/hooks";
import { groupBy } from "../base/group.js";
import { BAD, type Failure, type Line, type PageData, STATES, type State } from "./data.js";
import { Command, FailureDetail } from "./failure.js";
import { countStates, type Filter, linesWanted, NO_FILTER } from "./filter.js";
import { seconds, shortened } from "./format.js";
import { CellRow, classOf, describe, type Look, MatrixTable, SIGNS } from "./heatmap.js";
import { matricesOf } from "./matrix.js";

/** More reasons than this are a list to be filtered, not to be read. */
const REASONS_MAX = 100;
const SHOWN_FIRST = 8;

/** How many lines there are of each state, for what is drawn of all of them. */
type Counts = ReadonlyMap<State, number>;

function Header({ data, counts }: { data: PageData; counts: Counts }) {
  const worst = STATES.find((state) => counts.has(state)) ?? "not run";
  return (
    <header>
      <h1>
        aiodio-ltp{" "}
        <span class={`badge ${classOf(worst)}`}>
          {BAD.includes(worst) ? worst : counts.has("TPASS") ? "passed" : worst}
        </span>
      </h1>
      <p class="totals">{data.totals}</p>
      <p>
        {data.time} · aiodio-ltp {data.version}
      </p>
      <details>
        <summary>Machine and run</summary>
        <dl>
          {data.facts.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      </details>
      {data.command !== undefined && <Command text={data.command} />}
    </header>
  );
}

function Places({ data, counts: all }: { data: PageData; counts: Counts }) {
  if (data.places.length < 2 && !data.places[0]?.name) return null;
  const lines = groupBy(data.lines, ({ place }) => place);
  const shown = STATES.filter((state) => all.has(state));
  return (
    <section>
      <h2>Filesystems</h2>
      <div class="scroll">
        <table class="places">
          <thead>
            <tr>
              <th scope="col">filesystem</th>
              <th scope="col">kernel</th>
              <th scope="col">pages</th>
              {shown.map((state) => (
                <th key={state} scope="col">
                  {state}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {data.places.map((place, index) => {
              const counts = countStates(lines.get(index) ?? []);
              return (
                <tr key={place.name}>
                  <th scope="row" title={place.name}>
                    {shortened(place.name || "directory", 40)}
                  </th>
                  <td>{place.kernel ?? ""}</td>
                  <td>{place.pageBytes === undefined ? "" : `${place.pageBytes / 1024} KiB`}</td>
                  {shown.map((state) => (
                    <td key={state} class={counts.has(state) ? `number ${classOf(state)}` : "number"}>
                      {counts.get(state) ?? ""}
                    </td>
                  ))}
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Filters({
  data,
  counts,
  filter,
  change,
  shown,
}: {
  data: PageData;
  counts: Counts;
  filter: Filter;
  change(filter: Filter): void;
  shown: number;
}) {
  const toggle = (state: State) => {
    const states = new Set(filter.states);
    if (!states.delete(state)) states.add(state);
    change({ ...filter, states });
  };
  return (
    <form class="filters" onSubmit={(event) => event.preventDefault()}>
      <fieldset>
        <legend>Verdict</legend>
        {STATES.filter((state) => counts.has(state)).map((state) => (
          <button
            key={state}
            type="button"
            class={`chip ${classOf(state)}`}
            aria-pressed={filter.states.has(state)}
            onClick={() => toggle(state)}
          >
            {state} {counts.get(state)}
          </button>
        ))}
      </fieldset>
      {data.places.length > 1 && (
        <label>
          Filesystem{" "}
          <select
            value={filter.place === undefined ? "" : String(filter.place)}
            onChange={({ currentTarget: { value } }) => {
              const { place: _, ...others } = filter;
              change(value === "" ? others : { ...others, place: Number(value) });
            }}
          >
            <option value="">all</option>
            {data.places.map((place, index) => (
              <option key={place.name} value={String(index)}>
                {shortened(place.name || "directory", 50)}
              </option>
            ))}
          </select>
        </label>
      )}
      <label>
        Text{" "}
        <input
          type="search"
          placeholder="name, command or reason"
          value={filter.text}
          onInput={({ currentTarget }) => change({ ...filter, text: currentTarget.value })}
        />
      </label>
      <output>
        {shown} of {data.lines.length} lines
      </output>
    </form>
  );
}

interface Opened {
  opened: ReadonlySet<number>;
  toggle(failure: number, open: boolean): void;
}

function FailureEntry({ data, index, opened, toggle }: { data: PageData; index: number } & Opened) {
  const failure = data.failures[index] as Failure;
  const open = opened.has(index);
  return (
    <details
      id={`failure-${index}`}
      class="failure"
      open={open}
      onToggle={({ currentTarget }) => toggle(index, currentTarget.open)}
    >
      <summary>
        <span class={`badge ${classOf(failure.state)}`}>{failure.state}</span>{" "}
        <span class="name" title={failure.label}>
          {shortened(failure.label, 60)}
        </span>{" "}
        <code>{data.lines[failure.line]?.command}</code>
      </summary>
      {open && <FailureDetail failure={failure} />}
    </details>
  );
}

/** All that did not pass for one reason; of many the first ones, and what is open. */
function Reason({ data, why, failures, ...opened }: { data: PageData; why: string; failures: number[] } & Opened) {
  const [all, setAll] = useState(false);
  const shown = all ? failures : failures.filter((index, at) => at < SHOWN_FIRST || opened.opened.has(index));
  return (
    <section>
      <h3>
        {why} {failures.length > 1 && <small>{failures.length} times</small>}
      </h3>
      {shown.map((index) => (
        <FailureEntry key={index} data={data} index={index} {...opened} />
      ))}
      {shown.length < failures.length && (
        <button type="button" onClick={() => setAll(true)}>
          show all {failures.length}
        </button>
      )}
    </section>
  );
}

function Failures({ data, lines, ...opened }: { data: PageData; lines: readonly Line[] } & Opened) {
  const all = lines.flatMap(({ failures = [] }) => failures);
  if (all.length === 0) return null;
  const reasons = [...groupBy(all, (index) => data.failures[index]?.why ?? "")];
  return (
    <section>
      <h2>Did not pass</h2>
      {reasons.slice(0, REASONS_MAX).map(([why, failures]) => (
        <Reason key={why} data={data} why={why} failures={failures} {...opened} />
      ))}
      {reasons.length > REASONS_MAX && <p>… for {reasons.length - REASONS_MAX} more reasons: filter to see them</p>}
      {data.untold > 0 && <p>{data.untold} more did not pass; the journal has them.</p>}
    </section>
  );
}

/** All lines of one program in one file on one filesystem. */
function Group({ title, lines, look }: { title: string; lines: readonly Line[]; look: Look }) {
  const { matrices, others } = useMemo(() => matricesOf(lines), [lines]);
  return (
    <section class="group">
      <h3 title={title}>{shortened(title, 80)}</h3>
      <div class="matrices">
        {matrices.map((matrix) => (
          <MatrixTable key={matrix.title} matrix={matrix} look={look} />
        ))}
      </div>
      {others.length > 0 && <CellRow lines={others} look={look} />}
    </section>
  );
}

function Heatmap({ data, look, setBy }: { data: PageData; look: Look; setBy(by: Look["by"]): void }) {
  const groups = useMemo(
    () => [...groupBy(data.lines, ({ suite, program, place }) => `${place} ${suite} ${program}`)],
    [data],
  );
  return (
    <section>
      <h2>All lines</h2>
      <fieldset class="by">
        <legend>Cells by</legend>
        {(["verdict", "time"] as const).map((by) => (
          <label key={by}>
            <input type="radio" name="by" checked={look.by === by} onChange={() => setBy(by)} /> {by}
          </label>
        ))}
      </fieldset>
      {groups.map(([key, lines]) => {
        const [{ suite, program, place }] = lines as [Line];
        const names = [data.places[place]?.name, data.suites[suite], data.programs[program]];
        return <Group key={key} title={names.filter(Boolean).join(" · ")} lines={lines} look={look} />;
      })}
    </section>
  );
}

/** What the signs in cells say. */
const MEANINGS: Record<State, string> = {
  TPASS: "passed",
  TFAIL: "failed",
  TBROK: "broken",
  TWARN: "warned",
  expected: "known issue",
  TCONF: "could not apply",
  "not run": "not run",
};

function Footer({ data }: { data: PageData }) {
  const signs = Object.entries(MEANINGS).map(([state, text]) => `${SIGNS[state as State]} ${text}`);
  return (
    <footer>
      {seconds(data.lines.reduce((sum, line) => sum + line.seconds, 0))} of testcases; {signs.join(", ")}
    </footer>
  );
}

export function App({ data }: { data: PageData }) {
  const [filter, setFilter] = useState<Filter>(NO_FILTER);
  const [by, setBy] = useState<Look["by"]>("verdict");
  const [opened, setOpened] = useState<ReadonlySet<number>>(new Set());
  const [chosen, setChosen] = useState<Line>();
  const [target, setTarget] = useState<number>();
  const lines = useMemo(() => linesWanted(data, filter), [data, filter]);
  const wanted = useMemo(() => new Set(lines), [lines]);
  const counts = useMemo(() => countStates(data.lines), [data]);
  // Nothing of it changes while somebody types.
  const top = useMemo(
    () => (
      <>
        <Header data={data} counts={counts} />
        <Places data={data} counts={counts} />
      </>
    ),
    [data, counts],
  );
  const footer = useMemo(() => <Footer data={data} />, [data]);
  const longest = useMemo(() => data.lines.reduce((most, line) => Math.max(most, line.seconds), 0), [data]);
  const toggle = (failure: number, open: boolean) =>
    setOpened((now) => {
      if (now.has(failure) === open) return now;
      const next = new Set(now);
      if (!next.delete(failure)) next.add(failure);
      return next;
    });
  useLayoutEffect(() => {
    if (target === undefined) return;
    const element = document.getElementById(`failure-${target}`);
    element?.scrollIntoView({ block: "start" });
    element?.querySelector("summary")?.focus();
    setTarget(undefined);
  }, [target]);
  const open = (line: Line) => {
    setChosen(line);
    const [first] = line.failures ?? [];
    if (first === undefined) return;
    setFilter((now) => (linesWanted({ lines: [line] }, now).length > 0 ? now : NO_FILTER));
    setOpened((now) => new Set([...now, first]));
    setTarget(first);
  };
  const [cells] = useState(() => new Map<Line, HTMLElement>());
  const heatmap = useMemo(
    () => <Heatmap data={data} look={{ by, longest, cells, open }} setBy={setBy} />,
    [data, by, longest],
  );
  // Thousands of cells follow a filter in the time that a key press takes.
  useLayoutEffect(() => {
    for (const [line, cell] of cells) cell.classList.toggle("faded", !wanted.has(line));
  }, [wanted, by]);
  return (
    <main>
      {top}
      <Filters data={data} counts={counts} filter={filter} change={setFilter} shown={lines.length} />
      <Failures data={data} lines={lines} opened={opened} toggle={toggle} />
      {heatmap}
      <aside aria-live="polite" class="chosen">
        {chosen && (
          <>
            <span class={`badge ${classOf(chosen.state)}`}>{chosen.state}</span> {describe(chosen)}
          </>
        )}
      </aside>
      {footer}
    </main>
  );
}
