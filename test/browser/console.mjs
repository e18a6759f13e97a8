// Three people carry one application to a certificate, and a sheet of 200 rows
// with 7 errors is taken in; outcomes are read from the interface, not the page.
import { chromium } from 'playwright-core';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import assert from 'node:assert/strict';

const [dir, screens] = process.argv.slice(2);
const hufu = process.env.HUFU;
const { console: site, people } = JSON.parse(readFileSync(`${dir}/endpoints.json`));
const as = (who, ...args) => JSON.parse(execFileSync(hufu, ['as', who, '--dir', dir, '--json', ...args], { encoding: 'utf8' }));
let n = 0;
const csr = cn => {
  const k = `${dir}/../k${n++}`;
  execFileSync(hufu, ['key', '--out', k + '.pem', '--csr', k + '.csr', '--subject', cn ? '/CN=' + cn : '']);
  return readFileSync(k + '.csr', 'utf8');
};

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
const foreign = [];

async function desk(name) {
  const context = await browser.newContext({ acceptDownloads: true });
  const page = await context.newPage();
  page.on('request', r => { if (!r.url().startsWith(site) && !r.url().startsWith('blob:')) foreign.push(r.url()); });
  page.on('pageerror', e => { throw e; });
  await page.goto(site);
  await page.setInputFiles('[name=cert]', `${people}/${name}/cert.pem`);
  await page.setInputFiles('[name=key]', `${people}/${name}/key.pem`);
  await page.fill('[name=pass]', readFileSync(`${people}/${name}/pass`, 'utf8').trim());
  await page.click('button:has-text("登录")');
  await page.waitForSelector('h1:has-text("案件")');
  return page;
}
const shot = async (page, name) => { if (screens) { mkdirSync(screens, { recursive: true }); await page.screenshot({ path: `${screens}/${name}.png`, fullPage: true }); } };
const sign = page => page.click('#do-sign');
async function until(id, state) {
  for (let i = 0; i < 100; i++) {
    const v = as('ra-clerk', 'ra', 'show', id);
    if (v.state === state) return v;
    await new Promise(r => setTimeout(r, 100));
  }
  throw new Error(`${id} does not come to ${state}`);
}

// One application.
const clerk = await desk('ra-clerk');
await shot(clerk, 'cases-empty');
await clerk.click('nav >> text=新申请');
await clerk.waitForSelector('[name="subject.CN"]');
await clerk.fill('[name="subject.O"]', '某某局（样例）');
await clerk.fill('[name="subject.CN"]', '张三');
await clerk.fill('[name="identity.number"]', '110105194912310021');
await clerk.fill('[name=csr]', csr('张三'));
await clerk.click('button:has-text("保存草稿")');
await clerk.waitForSelector('.error:has-text("校验位")');
assert.equal(await clerk.getAttribute('[name="identity.number"]', 'aria-invalid'), 'true');
await shot(clerk, 'refusal');
await clerk.fill('[name="identity.number"]', '11010519491231002X');
await clerk.click('button:has-text("保存草稿")');
await clerk.waitForSelector('[data-act="ra.submit"]');
await clerk.click('[data-act="ra.submit"]');
await clerk.waitForSelector('#statement:has-text("虎符操作声明")');
await shot(clerk, 'sign');
await sign(clerk);
await clerk.waitForSelector('dd:has-text("待审核")');
const id = clerk.url().split('/').pop();
assert.equal(as('ra-clerk', 'ra', 'show', id).state, 'submitted');

const reviewer = await desk('ra-reviewer');
await reviewer.click(`text=${id}`);
await reviewer.fill('[name=note]', '材料齐全');
await reviewer.click('[data-act="ra.approve"]');
await sign(reviewer);
await until(id, 'issued');

const producer = await desk('ra-producer');
await producer.click(`text=${id}`);
await producer.click('[data-act="ra.produce"]');
await sign(producer);
await producer.waitForSelector('text=下载交付包');
const done = await until(id, 'delivered');
assert.ok(done.sign && done.enc, 'both certificates');
assert.equal(done.events.find(e => e.did === 'approve').note, '材料齐全');
await shot(producer, 'case');

// A sheet of 200 rows, 7 of them wrong.
const oneLine = pem => pem.replace(/-----[^-]+-----|\s/g, '');
const rows = ['profile,C,ST,L,O,OU,CN,identity_kind,identity_number,csr'];
const row = (profile, c, cn, number, request) => rows.push([profile, c, '北京市', '', '某某局（样例）', '', cn, 'resident-id', number, request].join(','));
const good = '11010519491231002X', first = oneLine(csr(''));
row('person-dual', 'CN', '样例0', good, first);
for (let i = 1; i < 193; i++) row('person-dual', 'CN', '样例' + i, good, oneLine(csr('')));
row('person-dual', 'CN', '重复', good, first);
row('person-dual', 'CN', '号码', '110105194912310021', oneLine(csr('')));
row('nothing', 'CN', '模板', good, oneLine(csr('')));
row('person-dual', 'US', '国家', good, oneLine(csr('')));
row('person-dual', 'CN', '', good, oneLine(csr('')));
row('person-dual', 'CN', '请求', good, 'AAAA');
row('person-dual', 'CN', '不符', good, oneLine(csr('别人')));
const file = `${dir}/../rows.csv`;
writeFileSync(file, rows.join('\n') + '\n');
await clerk.click('nav >> text=批量录入');
await clerk.setInputFiles('[name=file]', file);
await clerk.click('button:has-text("上传并检查")');
await clerk.waitForSelector('#summary:has-text("收下 193 行，退回 7 行")', { timeout: 60000 });
assert.equal(await clerk.locator('tr.bad').count(), 7);
await shot(clerk, 'sheet');
await clerk.click('#submit-batch');
await clerk.waitForSelector('#statement:has-text("193")');
await sign(clerk);
await clerk.waitForSelector('#summary:has-text("待提交 0 件")', { timeout: 60000 });
assert.equal(as('ra-clerk', 'ra', 'list', '--state', 'submitted', '--limit', '200').cases.length, 193);

// The other pages answer, and the auditor's button marks.
await clerk.click('nav >> text=账本与状态');
await clerk.waitForSelector('pre:has-text("hufu/ledger/")');
await shot(clerk, 'status');
const auditor = await desk('ra-auditor');
await auditor.click('nav >> text=审计');
await auditor.click('button:has-text("标记已审计")');
await sign(auditor);
await auditor.waitForSelector('td:has-text("已审计")');
await shot(auditor, 'audit');
assert.ok(as('ra-auditor', 'ra', 'audit', 'list', '--q', id).every(l => l.marked));

// Revocation from the page, agreed by another.
await clerk.click('nav >> text=撤销');
await clerk.fill('[name=serial]', done.sign_serial);
await clerk.click('button:has-text("签名并申请")');
await sign(clerk);
await clerk.waitForSelector('h1:has-text("证书撤销")');
const rev = clerk.url().split('/').pop();
await reviewer.goto(`${site}/#/case/${rev}`);
await reviewer.waitForSelector('[data-act="ra.approve"]');
await reviewer.click('[data-act="ra.approve"]');
await sign(reviewer);
await until(id, 'revoked');

await clerk.click('#out');
await clerk.waitForSelector('h1:has-text("登录")');
assert.deepEqual(foreign, [], 'no request leaves the site');
await browser.close();
console.log('console: one application, 200 rows with 7 errors, audit and revocation');
