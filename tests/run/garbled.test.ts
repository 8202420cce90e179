/** A worker whose message can't be read: the result that may be lost with it must not become a pass. */
import { expect, test } from "vitest";
import type { TestReport } from "../../ts/events/events.js";
import { Slot } from "../../ts/run/slot.js";

test.each([
  ["torn", '{"type":"line","result":"TFAIL","fi'],
  ["another version's", '{"type":"line","result":"TNEW","file":"t.ts","line":1,"text":"new"}'],
])("%s", async (_, garbled) => {
  const messages = [
    '{"type":"line","result":"TPASS","file":"t.ts","line":1,"text":"fine"}',
    garbled,
    '{"type":"done","summary":true}',
  ];
  // In the worker's place: waits for a request, answers, and ends when its stream does.
  const script = `read -r request <&3; printf '%s\\n' ${messages.map((text) => `'${text.replaceAll("'", "'\\''")}'`).join(" ")} >&4; cat <&3 >/dev/null`;
  const slot = new Slot(process.env, ["bash", "-c", script, "worker"]);
  const said: string[] = [];
  const report = (event: TestReport) => {
    if (event.type === "line") said.push(`${event.result} ${event.text}`);
  };
  const outcome = await slot.run({ program: "t", argv: [] }, report, new AbortController().signal);
  await slot.close();
  expect(outcome).toMatchObject({ verdict: "TBROK", exit: 2 });
  expect(said).toEqual(["TPASS fine", expect.stringMatching(/^TBROK not a message of the worker protocol: /)]);
});
