/** The package's own parts, for scripts that tests start: the name to import them by, quoted. */
import { packaged } from "../../ts/base/package.js";

export const LIBRARY: string = JSON.stringify(packaged("dist", "library.cjs"));
