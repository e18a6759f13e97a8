// Every page of every console on a screen of 390 pixels: no page is wider than
// the screen. Tables scroll in a box of their own, and only they.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import assert from 'node:assert/strict';
import { as, browser, csr, desk, dir, endpoints, hufu, key, people, screens, shot } from './lib.mjs';

const width = 390;

// Something in every list, with names as long as they may be.
const long = '某某省某某市某某区某某街道办事处政务服务中心（样例）'.repeat(2).slice(0, 60);
const names = ['欧阳'.repeat(15), 'A'.repeat(60), '张三'];
const pass = 'eight-or-more', mine = key('', pass);
const ids = names.map((cn, i) => {
  const file = `${dir}/../narrow-${i}.json`;
  writeFileSync(file, JSON.stringify({ profile: 'person-dual', identity: { kind: 'resident-id', number: '11010519491231002X' }, csr: i ? csr(cn) : mine.csr, subject: { C: 'CN', ST: '北京市', O: long, OU: long.slice(0, 30), CN: cn } }));
  return as('ra-clerk', 'ra', 'submit', file).id;
});
as('ra-reviewer', 'ra', 'approve', ids[0], ids[1], '--note', '材料齐全'.repeat(60));
let one;
for (let i = 0; !(one = as('ra-clerk', 'ra', 'show', ids[0])).sign_serial; i++) {
  assert.ok(i < 100, 'the certificate is issued');
  await new Promise(r => setTimeout(r, 100));
}
as('ra-clerk', 'ra', 'freeze', one.sign_serial, '--asker', 'unit', '--note', '外出'.repeat(100));
const row = cn => `person-dual,CN,,,${long},,${cn},resident-id,11010519491231002X,"${csr(cn)}"`;
writeFileSync(`${dir}/../narrow.csv`, ['profile,C,ST,L,O,OU,CN,identity_kind,identity_number,csr', row('一'), 'nothing' + row('二'), row('三')].join('\n'));
execFileSync(hufu, ['as', 'ra-clerk', '--dir', dir, 'ra', 'submit', `${dir}/../narrow.csv`]);
execFileSync(hufu, ['as', 'ra-clerk', '--dir', dir, 'ra', 'bulk', 'try', 'freeze', '--unit', long, '--asker', 'institution', '--note', '演练'.repeat(100)]);

// A page stands for those that differ in a number only; two of each are looked at.
const shape = path => path.replace(/[0-9A-F]{12,}|[A-Z]\d{8}-\w+|\d+/gi, '#').replace(/=[^&]*/g, '=');
const pagesMax = 80; // of one person

const walk = async (who, site, home) => look(who, site, await desk(who, site, home, width));

async function look(who, site, page, under = '/') {
  const met = new Map(), queue = [new URL(page.url()).pathname], seen = new Set(queue), wide = [];
  let looked = 0;
  while (queue.length && looked < pagesMax) {
    const path = queue.shift();
    if (path !== new URL(page.url()).pathname || looked) await page.goto(site + path);
    await page.waitForSelector('main');
    looked++;
    for (const d of await page.locator('details').all()) await d.evaluate(e => { e.open = true; });
    const found = await page.evaluate(() => {
      const w = document.documentElement.scrollWidth;
      const out = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.parentElement.closest('.scroll'));
      if (w > innerWidth) for (const e of document.querySelectorAll('main *, header *')) if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth) out.push(e);
      return { w, who: out.slice(-4).map(e => `${e.tagName}.${e.className} ${e.scrollWidth} ${e.textContent.trim().slice(0, 20)}`) };
    });
    if (found.w > width) wide.push(`${path}: ${found.w} px: ${found.who.join(' | ')}`);
    if (screens && looked < 14) await shot(page, `narrow-${who}-${path.replace(/\W+/g, '-').slice(0, 40)}`);
    for (const href of await page.locator('a[href]:not([hx-boost=false]):not([download])').evaluateAll(all => all.map(a => a.href))) {
      const u = new URL(href);
      const to = u.pathname + u.search;
      const n = met.get(shape(to)) || 0;
      if (u.origin !== new URL(site).origin || u.pathname.startsWith('/api/') || !u.pathname.startsWith(under) || u.pathname.includes('/api/') || seen.has(to) || n > 1) continue;
      met.set(shape(to), n + 1);
      seen.add(to);
      queue.push(to);
    }
  }
  await page.context().close();
  assert.deepEqual(wide, [], `${who}: no page is wider than ${width} px`);
  assert.ok(looked > 2, `${who}: pages were found`);
  return looked;
}

let pages = 0;
for (const who of ['ra-clerk', 'ra-reviewer', 'ra-producer', 'ra-admin', 'ra-auditor', 'ra-super']) pages += await walk(who, endpoints.ra, '工作台');
for (const who of ['ca-super', 'ca-admin', 'ca-operator', 'ca-auditor']) pages += await walk(who, endpoints.ca_console, '运行总览');
for (const who of ['km-super', 'km-admin', 'km-operator', 'km-auditor']) pages += await walk(who, endpoints.km_console, '运行总览');

// A holder's own pages.
{
  const page = await (await browser.newContext({ viewport: { width, height: 800 } })).newPage();
  as('ra-producer', 'ra', 'produce', ids[0], '--out', `${dir}/../narrow-out`);
  await page.goto(endpoints.ra + '/self/');
  await page.setInputFiles('[name=cert]', `${dir}/../narrow-out/sign.pem`);
  await page.setInputFiles('[name=key]', mine.file);
  await page.fill('[name=pass]', pass);
  await page.click('form[data-sign-in] button');
  await page.waitForSelector('header h1:has-text("我的证书")');
  pages += await look('holder', endpoints.ra, page, '/self/');
}

// The doors.
for (const path of ['/', '/self/']) {
  const page = await (await browser.newContext({ viewport: { width, height: 800 } })).newPage();
  await page.goto(endpoints.ra + path);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= width, `${path} is not wider than ${width} px`);
  await page.close();
  pages++;
}
await browser.close();
console.log(`narrow: ${pages} pages within ${width} px`);
