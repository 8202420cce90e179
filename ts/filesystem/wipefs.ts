/** What `wipefs --json` tells. A file of its own: zod takes long to load, and only a run on a device needs it. */
import * as z from "zod";

const [text, maybe] = [z.string(), z.string().nullish()];

export const wipefsOutput = z.object({
  signatures: z.array(z.object({ device: text, type: text, label: maybe, uuid: maybe })),
});
