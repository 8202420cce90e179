/** The script of the page: draws the report that lies in it. */
import { render } from "preact";
import { App } from "./app.js";
import type { PageData } from "./data.js";

const data: PageData = JSON.parse(document.getElementById("data")?.textContent ?? "null");
const page = document.getElementById("page");
if (page) render(<App data={data} />, page);
