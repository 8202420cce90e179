/** The page in a browser: it opens without a complaint, shows what there is, filters, and opens a failure, by mouse and keyboard. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { RunEvent } from "../../ts/events/events.js";
import { findTool } from "../../ts/process/tools.js";
import { HtmlReporter } from "../../ts/report/html.js";
import { Results } from "../../ts/report/results.js";
import { plan, play, runEvents } from "../report/fixture.js";
import { needs } from "../support/needs.js";
import { temporaryDirectory } from "../support/temporary.js";
import { failedEvents, manyEvents } from "./fixture.js";

const directory = temporaryDirectory("page");
let browser: Browser | undefined;
const complaints: string[] = [];
let count = 0;

beforeAll(async () => {
  const executablePath = findTool("chromium");
  if (executablePath === undefined) return;
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
});
afterAll(() => browser?.close());

/** The report of these events, open; what the browser complains of fails the test. */
async function open(
  events: readonly RunEvent[],
  { width = 1100, dark = false }: { width?: number; dark?: boolean } = {},
): Promise<Page> {
  needs("chromium");
  if (!browser) throw new Error("no browser");
  const results = new Results();
  const file = join(directory, `${count++}.html`);
  play(results, new HtmlReporter(results, (text) => writeFileSync(file, text)), events);
  const colorScheme = dark ? "dark" : "light";
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme, offline: true });
  complaints.length = 0;
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", ({ message }) => complaints.push(message));
  page.on("request", (request) => {
    if (!/^(?:file|data):/.test(request.url())) complaints.push(`asks for ${request.url()}`);
  });
  await page.goto(pathToFileURL(file).href);
  await page.waitForSelector("h1");
  return page;
}

/** What can be read on the page, with a blank for each run of white space. */
// biome-ignore lint/performance/useDomNodeTextContent: what is hidden can't be read
const said = async (page: Page, selector = "body") => (await page.innerText(selector)).replaceAll(/\s+/g, " ");

test("it says what the run came to, and opens a failure with all that is known of it", async () => {
  const page = await open(failedEvents());
  expect(await said(page, "header")).toMatch(/aiodio-ltp TBROK .*5 testcases in 12\.5 s/);
  const failure = page.locator("details.failure", { hasText: "AD002" });
  await failure.locator("> summary").click();
  const text = await said(page, "details.failure[open]");
  for (const part of [
    "lost write: 4 KiB of dst.bin at 0x1000",
    "Looks like this: a write that was reported as done is missing",
    "page cache bad, disk bad; right would be generation 1",
    "00 00 00 00",
    "0x1000, 8 KiB: at 0x8800000 of the device, unwritten",
    "pwrite(dst.bin, 0x1000, 4096)",
    "BTRFS warning (device loop0): csum failed",
    "aiodio-ltp -s '^AD002$'",
  ]) {
    expect(text).toContain(part);
  }
  expect(await failure.locator("svg .bad").count()).toBe(1);
  expect(await failure.locator("svg .extent.unwritten").count()).toBe(1);
  expect(await failure.locator("svg .touched").count()).toBe(1);
  expect(await failure.locator("svg .beside").count()).toBe(1);
  expect(await failure.locator("svg .message").count()).toBe(1);
  expect(await failure.locator(".dump .differs").count()).toBeGreaterThan(0);
  await failure.getByText("Result lines").click();
  expect(await said(page, "details.failure[open]")).toContain("TFAIL: Files are not identical");
  expect(complaints).toEqual([]);
  await page.close();
});

test("filters leave out what is not wanted", async () => {
  const page = await open(failedEvents());
  const shown = () => said(page, "output");
  expect(await shown()).toBe("5 of 5 lines");
  await page.getByRole("button", { name: "TFAIL 1" }).click();
  expect(await shown()).toBe("1 of 5 lines");
  expect(await page.locator("details.failure").count()).toBe(1);
  expect(await page.locator(".cell:not(.faded)").count()).toBe(1);
  await page.getByRole("button", { name: "TFAIL 1" }).click();
  await page.getByRole("searchbox").fill("-b 512K");
  expect(await shown()).toBe("1 of 5 lines");
  await page.getByRole("searchbox").fill("nothing has this");
  expect(await shown()).toBe("0 of 5 lines");
  expect(complaints).toEqual([]);
  await page.close();
});

test("cells are by verdict or by time, arrow keys move among them, and enter opens a failure", async () => {
  const page = await open(failedEvents());
  await page.getByRole("radio", { name: "time" }).check();
  expect(await said(page, ".cell >> nth=0")).toMatch(/ms$/);
  await page.getByRole("radio", { name: "verdict" }).check();
  await page.locator(".cell").first().focus();
  await page.keyboard.press("ArrowRight");
  const focused = () => page.evaluate("document.activeElement?.getAttribute('aria-label')");
  expect(await focused()).toMatch(/^AD002: TFAIL/);
  expect(await page.locator(".cell[tabindex='0']").count()).toBe(1);
  await page.keyboard.press("Enter");
  await page.locator("details.failure[open]").waitFor();
  expect(await page.evaluate("document.activeElement?.textContent")).toContain("AD002");
  expect(await said(page, "aside")).toContain("AD002: TFAIL");
  expect(complaints).toEqual([]);
  await page.close();
});

test.each([false, true])("on a phone nothing is wider than the screen (dark: %s)", async (dark) => {
  const page = await open(failedEvents(), { width: 360, dark });
  for (const summary of await page.locator("summary").all()) await summary.click();
  expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(360);
  const background = await page.evaluate("getComputedStyle(document.body).backgroundColor");
  expect(background).toBe(dark ? "rgb(20, 23, 27)" : "rgb(255, 255, 255)");
  expect(complaints).toEqual([]);
  await page.close();
});

test("whatever a testcase says is shown as it is, and does nothing", async () => {
  const hostile = "</script><script>console.log('x')</script><img src=x onerror=console.log(1)>\u2028{{DATA}}";
  const events = failedEvents().map((event) =>
    event.type === "line" && event.result === "TFAIL" ? { ...event, text: hostile } : event,
  );
  const page = await open(events);
  expect(await said(page)).toContain("</script><script>console.log('x')</script><img src=x");
  expect(complaints).toEqual([]);
  await page.close();
});

test("20,000 lines can be filtered and opened", async () => {
  const page = await open(manyEvents(20_000));
  expect(await said(page, "output")).toBe("20000 of 20000 lines");
  await page.locator(".chip.s-TFAIL").click();
  expect(await said(page, "output")).toBe("200 of 20000 lines");
  await page.locator("details.failure > summary").first().click();
  await page.locator("details.failure[open] .detail").waitFor();
  expect(complaints).toEqual([]);
  await page.close();
});

test("a run that showed nothing is a page, too", async () => {
  const page = await open(runEvents({ stopAfter: 0 }));
  expect(await said(page, "header")).toContain("not run");
  expect(await page.locator(".cell").count()).toBe(plan.length);
  expect(complaints).toEqual([]);
  await page.close();
});
