/** YAML, and JSON with it, as openQA reads it: version 1.2 with merge keys (`<<`). Its parser is loaded only for this. */
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Pair, parseDocument } from "yaml";
import type { Parsed } from "./known-issues.js";

/** Throws on what is no YAML; an empty document is null. */
export function parseYaml(content: string): Parsed {
  const lineCounter = new LineCounter();
  const document = parseDocument(content, { merge: true, lineCounter });
  const [error] = document.errors;
  if (error) throw error;
  return {
    // Aliases are references: however many, they take no room.
    value: document.toJS({ maxAliasCount: -1 }),
    lineOf: (path) => {
      const offset = offsetOf(document, document.contents, path);
      return offset === undefined ? undefined : lineCounter.linePos(offset).line;
    },
  };
}

/** Where the key or the item at the end of the path stands, merged ones where they were written. */
function offsetOf(document: Document, node: unknown, [first, ...rest]: readonly PropertyKey[]): number | undefined {
  const here = isAlias(node) ? node.resolve(document) : node;
  if (isSeq(here)) {
    const item = here.items[Number(first)];
    return rest.length > 0 ? offsetOf(document, item, rest) : startOf(item);
  }
  if (!isMap(here)) return undefined;
  const named = (name: PropertyKey | undefined) => (pair: Pair) => nameOf(pair.key) === String(name);
  const pair = here.items.find(named(first));
  if (pair) return rest.length > 0 ? offsetOf(document, pair.value, rest) : startOf(pair.key);
  const merged = here.items.find(named("<<"))?.value;
  const sources = isSeq(merged) ? merged.items : merged === undefined ? [] : [merged];
  for (const source of sources) {
    const offset = offsetOf(document, source, [first as PropertyKey, ...rest]);
    if (offset !== undefined) return offset;
  }
  return undefined;
}

function nameOf(key: unknown): string | undefined {
  const value = isScalar(key) ? key.value : key;
  // The parser's own way to tell a merge key from a text.
  return typeof value === "symbol" ? value.description : String(value);
}

function startOf(node: unknown): number | undefined {
  return (node as { range?: [number, number, number] | null } | null)?.range?.[0];
}
