/** Before tests that start the package's processes: those run what was built, which must be what the sources say. */
import { builtFrom, sourcesDigest } from "../../scripts/sources.js";

export default function setup() {
  if (builtFrom() === sourcesDigest()) return;
  throw new Error("dist and native are not built from these sources: `npm run build`, or use `npm test`");
}
