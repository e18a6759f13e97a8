// What every browser test needs: people who sign in with their own files, and a
// count of the buttons that exist and those that were pressed.
import { chromium } from 'playwright-core';
import { execFileSync } from 'node:child_process';
import { readFileSync, mkdirSync, writeFileSync } from 'node:fs';
import assert from 'node:assert/strict';

export const [dir, screens] = process.argv.slice(2);
export const hufu = process.env.HUFU;
export const endpoints = JSON.parse(readFileSync(`${dir}/endpoints.json`));
export const people = endpoints.people;
export const as = (who, ...args) => JSON.parse(execFileSync(hufu, ['as', who, '--dir', dir, '--json', ...args], { encoding: 'utf8' }));
let n = 0;
// key makes one, with its request, under a passphrase if one is given; csr is
// the request alone.
export const key = (cn, pass) => {
  const k = `${dir}/../k${process.pid}-${n++}`;
  if (pass) writeFileSync(k + '.pass', pass);
  execFileSync(hufu, ['key', '--out', k + '.pem', '--csr', k + '.csr', '--subject', cn ? '/CN=' + cn : '', ...(pass ? ['--pass-file', k + '.pass'] : [])]);
  return { file: k + '.pem', csr: readFileSync(k + '.csr', 'utf8') };
};
export const csr = cn => key(cn).csr;

export const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox'] });
const foreign = [], broken = [], pressed = new Set(), seen = new Set();

// Buttons that exist on a page but are pressed elsewhere are told by their name.
const label = text => text.replace(/（\d+）|\d+ 件/g, '').replace(/\s+/g, '').trim();

// desk signs somebody in at a site; home is the title of its first page.
export async function desk(name, site = endpoints.ra, home = '工作台', width = 1360) {
  const context = await browser.newContext({ acceptDownloads: true, viewport: { width, height: 900 } });
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: site });
  const page = await context.newPage();
  page.on('request', r => { if (!r.url().startsWith(site) && !r.url().startsWith('blob:')) foreign.push(r.url()); });
  page.on('pageerror', e => broken.push(String(e)));
  page.on('console', m => { if (m.type() === 'error' && !/status of (4\d\d)/.test(m.text())) broken.push(m.text()); });
  await page.goto(site);
  await openKey(page, 'form[data-sign-in]', name);
  await press(page, 'form[data-sign-in] button');
  await page.waitForSelector(`h1:has-text("${home}")`);
  return page;
}
export async function openKey(page, form, name) {
  await page.setInputFiles(`${form} [name=cert]`, `${people}/${name}/cert.pem`);
  await page.setInputFiles(`${form} [name=key]`, `${people}/${name}/key.pem`);
  await page.fill(`${form} [name=pass]`, readFileSync(`${people}/${name}/pass`, 'utf8').trim());
}
export async function note(page) {
  for (const t of await page.locator('button, a.button').allTextContents()) if (label(t)) seen.add(label(t));
}
export async function press(page, selector) {
  const b = page.locator(selector).first();
  await b.waitFor();
  await note(page);
  pressed.add(label(await b.textContent()));
  await b.click();
}
export async function goTo(page, title) {
  await page.click(`nav >> text="${title}"`); // the whole of it: 变更 is not 批量变更
  await page.waitForSelector(`header h1:text-is("${title}")`);
  await note(page);
}
export const shot = async (page, name) => { await note(page); if (screens) { mkdirSync(screens, { recursive: true }); await page.screenshot({ path: `${screens}/${name}.png`, fullPage: true }); } };
export const sign = page => press(page, '#do-sign');
export const last = page => page.url().split('/').pop();

// finish closes the browser and says what was found on the way. elsewhere are
// buttons that another test presses.
export async function finish(elsewhere = []) {
  assert.deepEqual(foreign, [], 'no request leaves the site');
  assert.deepEqual(broken, [], 'no script fails and no policy is offended');
  const never = [...seen].filter(t => !pressed.has(t) && !elsewhere.includes(t));
  assert.deepEqual(never, [], 'every button was pressed');
  await browser.close();
  return pressed.size;
}
