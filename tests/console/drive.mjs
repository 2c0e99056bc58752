// Drives the inbox page in chromium, as the tests in tests/it/console.rs ask: reads a plan from stdin, writes what was
// seen to stdout, both JSON. What it runs in the page goes by the browser's own protocol, past the page's policy, so
// that the policy can stay as strict as it is. Takes the directory that holds the installed packages.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const installed = createRequire(`${process.argv[2]}/`);
const { chromium } = installed('playwright-core');
const axe = readFileSync(installed.resolve('axe-core/axe.min.js'), 'utf8');

const plan = JSON.parse(readFileSync(0, 'utf8'));
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

// Each gives what the test looks at, or nothing.
const steps = {
  wait: (page, selector) => page.waitForSelector(selector, { state: 'attached' }).then(() => null),
  see: (page, selector) => page.waitForSelector(selector, { state: 'visible' }).then(() => null),
  gone: (page, selector) => page.waitForSelector(selector, { state: 'detached' }).then(() => null),
  click: (page, selector) => page.click(selector).then(() => null),
  press: (page, key) => page.keyboard.press(key).then(() => null),
  type: (page, selector, text) => page.fill(selector, text).then(() => null),
  choose: (page, selector, value) => page.selectOption(selector, value).then(() => null),
  text: (page, selector) => page.innerText(selector),
  label: (page, selector, name) => page.getAttribute(selector, name),
  count: (page, selector) => page.locator(selector).count(),
  html: (page) => page.content(),
  title: (page) => page.title(),
  address: (page) => page.url(),
  focus: (page) => page.evaluate(() => document.activeElement?.id ?? ''),
  // Waits until an element says this.
  says: (page, selector, text) => page.waitForFunction(
    ([where, wanted]) => document.querySelector(where)?.textContent.includes(wanted),
    [selector, text],
  ).then(() => null),
  // Opens every message of the list in every tab, and gives what is there that a mail brought: marked elements outside
  // the frame, and titles that are not of this page's making.
  intruders: async (page) => {
    const found = [];
    for (const row of await page.locator('#messages li').all()) {
      const subject = await row.locator('.subject').textContent();
      await row.locator('button').click();
      await page.waitForFunction((wanted) => document.querySelector('#subject').textContent === wanted, subject);
      for (const tab of await page.locator('[role=tab]').all()) {
        await tab.click();
        await page.waitForFunction(() => !/^(Loading…|)$/.test(document.querySelector('[role=tabpanel]:not([hidden])').textContent.trim()));
        found.push(...await page.evaluate((wanted) => [
          ...[...document.querySelectorAll('[data-pwned], x-pwned, base, object, embed, script:not([src])')].map((each) => each.outerHTML),
          ...(window.pwned === undefined ? [] : ['a script ran']),
          ...(document.title.endsWith(`${wanted} · Mailwright`.replace(/\s+/g, ' ').trim()) ? [] : [document.title]),
          ...(document.querySelectorAll('iframe').length === 1 ? [] : ['another frame']),
        ], subject));
      }
    }
    return found;
  },
  // Cuts the page off from the service, or joins it again.
  away: (page, isAway) => page.context().setOffline(isAway).then(() => null),
  // Waits until the frame has loaded what it may.
  frame: async (page) => {
    const frame = await (await page.$('#html')).contentFrame();
    await frame.waitForLoadState('load');
    return null;
  },
  // By how much the page is wider than its window, and what sticks out.
  overflow: (page) => page.evaluate(() => {
    const wide = document.documentElement.clientWidth;
    const out = [...document.querySelectorAll('body *')].filter((each) => {
      const box = each.getBoundingClientRect();
      return box.width > 1 && box.height > 1 && box.right > wide + 1;
    });
    const inside = [...document.querySelectorAll('body *')].filter((each) => each.clientWidth > 1
      && each.scrollWidth > each.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(each).overflowX));
    return {
      by: document.documentElement.scrollWidth - wide,
      out: [...out, ...inside].map((each) => `${each.localName}#${each.id}.${each.className}`),
    };
  }),
  // Touch targets of less than 44 px, but for links within text.
  small: (page) => page.evaluate(() => [...document.querySelectorAll('button, input, select, summary')]
    .filter((each) => each.checkVisibility())
    .map((each) => [each.id || each.textContent, each.getBoundingClientRect()])
    .filter(([, box]) => box.width > 1 && (box.height < 43.5 || box.width < 43.5))
    .map(([name, box]) => `${name} ${Math.round(box.width)}x${Math.round(box.height)}`)),
  // Frames are left out: what is in the mail's is not the page's.
  axe: async (page) => {
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, { iframes: false }));
    return found.violations.map((each) => `${each.id}: ${each.nodes.map((node) => `${node.target} (${node.failureSummary})`).join('; ')}`);
  },
  picture: (page, path) => page.screenshot({ path }).then(() => null),
};

try {
  const context = await browser.newContext({
    viewport: { width: plan.width ?? 1366, height: plan.height ?? 850 },
    colorScheme: plan.theme ?? 'light',
    locale: plan.language ?? 'en-US',
  });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const faults = [];
  page.on('pageerror', (fault) => faults.push(String(fault)));
  // What the service is made to answer, or what is put over its answer, or over every row of it.
  for (const { path, method = 'GET', status = 200, body, over, rows } of plan.answers ?? []) {
    await page.route((url) => new RegExp(path).test(url.pathname), async (route) => {
      if (route.request().method() !== method) return route.fallback();
      if (body) return route.fulfill({ status, contentType: 'application/json', body: JSON.stringify(body) });
      const answer = await route.fetch();
      const json = { ...(await answer.json()), ...over };
      if (rows) json.data = json.data.map((row) => ({ ...row, ...rows }));
      return route.fulfill({ response: answer, json });
    });
  }
  // What was asked of anyone but the service; what the policy stopped was not.
  const outside = [];
  const isOutside = (request) => /^http/.test(request.url()) && new URL(request.url()).origin !== new URL(plan.url).origin;
  page.on('requestfinished', (request) => { if (isOutside(request)) outside.push(request.url()); });
  page.on('requestfailed', (request) => {
    if (isOutside(request) && request.failure()?.errorText !== 'csp') outside.push(`${request.url()} ${request.failure()?.errorText}`);
  });
  await page.goto(plan.url);
  const seen = [];
  for (const [name, ...values] of plan.steps) {
    try {
      seen.push(await steps[name](page, ...values));
    } catch (fault) {
      throw new Error(`${name} ${values.join(' ')}: ${fault}\n${faults.join('\n')}`);
    }
  }
  process.stdout.write(JSON.stringify({ seen, faults, outside }));
} finally {
  await browser.close();
}
