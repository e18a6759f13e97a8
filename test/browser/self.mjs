// Self-service, as a subscriber uses it: they prove that they hold their key, make
// a new one in the page and ask for renewal, freezing and revocation; the desk
// takes each up. Then the two paths at the counter. Every button is pressed; the
// key that the page made is used, so that it is known to be good.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import assert from 'node:assert/strict';
import { as, browser, desk, dir, endpoints, finish, hufu, key, openKey, press, shot, sign } from './lib.mjs';

const site = endpoints.ra;
async function until(id, state) {
  for (let i = 0; i < 150; i++) {
    const v = as('ra-clerk', 'ra', 'show', id);
    if (v.state === state) return v;
    await new Promise(r => setTimeout(r, 100));
  }
  throw new Error(`${id} does not come to ${state}`);
}
const out = n => `${dir}/../self-${n}`;
async function produced(id, n) {
  await until(id, 'issued');
  as('ra-producer', 'ra', 'produce', id, '--out', out(n));
  return out(n);
}

// A certificate to begin with.
const pass = 'eight-or-more', mine = key('张三', pass);
writeFileSync(`${dir}/../self.json`, JSON.stringify({ profile: 'person-dual', identity: { kind: 'resident-id', number: '11010519491231002X' }, csr: mine.csr, subject: { C: 'CN', O: '某某局（样例）', CN: '张三' } }));
const first = as('ra-clerk', 'ra', 'submit', `${dir}/../self.json`).id;
as('ra-reviewer', 'ra', 'approve', first);
const one = await produced(first, 'one');

async function hold(cert, keyFile, word) {
  const context = await browser.newContext({ acceptDownloads: true, viewport: { width: 1200, height: 900 } });
  const page = await context.newPage();
  page.on('pageerror', e => { throw e; });
  await page.goto(site + '/self/');
  await page.waitForSelector('h1:has-text("证书自助服务")');
  await shot(page, 'self-door');
  await page.setInputFiles('[name=cert]', cert);
  await page.setInputFiles('[name=key]', keyFile);
  await page.fill('[name=pass]', word);
  await press(page, 'form[data-sign-in] button');
  return page;
}
const newest = async page => (await page.locator('section:has(h2:has-text("办理经过")) tbody td').first().textContent()).trim();

// An encryption certificate is turned away in words.
const wrong = await hold(one + '/enc.pem', mine.file, pass);
await wrong.waitForSelector('form[data-sign-in] .problem:has-text("这不是本机构签发给用户的签名证书")');
await wrong.close();

const page = await hold(one + '/sign.pem', mine.file, pass);
await page.waitForSelector('header h1:has-text("我的证书")');
assert.ok(!(await page.content()).includes('11010519491231002X'), 'no document number');
await shot(page, 'self');

// Renewal, with a key made in the page.
await press(page, 'main a.button:has-text("申请证书更新")');
await page.waitForSelector('header h1:has-text("申请更新")');
await press(page, 'main a.button:has-text("取消")');
await page.waitForSelector('header h1:has-text("我的证书")');
await page.click('nav >> text=申请更新');
await page.waitForSelector('#csr');
await page.fill('[data-newpass]', 'short');
await press(page, 'button[data-new-key]');
await page.waitForSelector('fieldset .problem:has-text("至少 8 个字符")');
await page.fill('[data-newpass]', 'another-secret');
await page.fill('[data-newpass2]', 'another-secret');
const saved = page.waitForEvent('download');
await press(page, 'button[data-new-key]');
await (await saved).saveAs(out('new.pem'));
await page.waitForFunction(() => document.querySelector('#csr').value.includes('BEGIN CERTIFICATE REQUEST'));
const again = page.waitForEvent('download');
await press(page, 'a.button:has-text("再次保存新私钥")');
await again;
await shot(page, 'self-renew');
await press(page, 'button:has-text("签名并申请更新")');
await page.waitForSelector('#statement:has-text("持有人申请证书更新")');
await press(page, '#no-sign');
await press(page, 'button:has-text("签名并申请更新")');
await sign(page);
await page.waitForSelector('td:has-text("持有人申请，待受理")');
const renewal = await newest(page);

const clerk = await desk('ra-clerk');
await clerk.waitForSelector('h2:has-text("持有人申请")');
await shot(clerk, 'self-home');
async function accept(id, act) {
  await clerk.goto(`${site}/cases/${id}`);
  await press(clerk, `[data-act="${act}"]`);
  await openKey(clerk, '#unlock', 'ra-clerk');
  await press(clerk, '#unlock button.primary');
  await sign(clerk);
  await clerk.waitForSelector('.steps .now:has-text("待审核")');
  as('ra-reviewer', 'ra', 'approve', id);
}
await shot(clerk, 'self-case');
await accept(renewal, 'ra.submit');
const two = await produced(renewal, 'two');
writeFileSync(out('pass'), 'another-secret');
execFileSync(hufu, ['open', two, '--key', out('new.pem'), '--pass-file', out('pass'), '--out', out('enc.key')]);
assert.match(readFileSync(out('enc.key'), 'utf8'), /PRIVATE KEY/, 'the key that the page made opens what was sealed to it');

// The old certificate lets nobody in any more; the new one does.
await page.goto(site + '/self/');
await page.waitForSelector('h1:has-text("证书自助服务")');
const next = await hold(two + '/sign.pem', out('new.pem'), 'another-secret');
await next.waitForSelector('td:has-text("当前使用")');
await press(next, 'main a.button:has-text("申请证书冻结")');
await next.waitForSelector('header h1:has-text("申请冻结")');
await press(next, 'main a.button:has-text("取消")');
await next.click('nav >> text=申请冻结');
await next.fill('[name=note]', '出差');
await press(next, 'button:has-text("签名并申请冻结")');
await sign(next);
await next.waitForSelector('td:has-text("持有人申请，待受理")');
const freeze = await newest(next);
await accept(freeze, 'ra.freeze');
await until(freeze, 'done');

// On hold: only revocation is open.
await next.click('nav >> text=申请更新');
await next.waitForSelector('.note:has-text("不允许自助办理")');
await press(next, 'main a.button:has-text("返回我的证书")');
await next.waitForSelector('header h1:has-text("我的证书")');
assert.equal(await next.locator('main a.button').count(), 1);
await press(next, 'main a.button:has-text("申请证书撤销")');
await next.waitForSelector('header h1:has-text("申请撤销")');
await press(next, 'main a.button:has-text("取消")');
await next.click('nav >> text=申请撤销');
await next.selectOption('[name=reason]', 'keyCompromise');
await shot(next, 'self-revoke');
await press(next, 'button:has-text("签名并申请撤销")');
await sign(next);
await next.waitForSelector('td:has-text("持有人申请，待受理")');
const end = await newest(next);

// A reload forgets the key; it is taken up again, or not.
await next.reload();
await press(next, '[data-unlock]');
await press(next, '#unlock [data-close]');
await press(next, '[data-sign-out]');
await next.waitForSelector('h1:has-text("证书自助服务")');

// The path of a lost carrier goes on from what the holder reported.
const serial = as('ra-clerk', 'ra', 'show', renewal).sign_serial;
await clerk.goto(`${site}/certificates/${serial}`);
await press(clerk, 'a.button:has-text("补办引导")');
await clerk.waitForSelector('li[aria-current=step]:has-text("停用原证书")');
await shot(clerk, 'guide-reissue');
await press(clerk, 'main a.button:has-text("返回")');
await accept(end, 'ra.revoke');
await until(end, 'done');
await clerk.goto(site + '/guide/reissue');
await clerk.click('main li a:has-text("张＊")'); // begun, and found again
await clerk.waitForSelector('li[aria-current=step]:has-text("录入补办申请")');
await press(clerk, 'main a.button:has-text("录入补办申请")');
await clerk.waitForSelector('header h1:has-text("证书补办")');

// Wrong details: the cause comes first.
await clerk.goto(site + '/guide/amend');
await press(clerk, 'main a.button:has-text("按姓名查证书")');
await clerk.goto(site + '/guide/amend');
const other = key('李四');
writeFileSync(`${dir}/../other.json`, JSON.stringify({ profile: 'person-dual', identity: { kind: 'resident-id', number: '110101199003070054' }, csr: other.csr, subject: { C: 'CN', O: '某某局（样例）', CN: '李四' } }));
const o = as('ra-clerk', 'ra', 'submit', `${dir}/../other.json`).id;
as('ra-reviewer', 'ra', 'approve', o);
await produced(o, 'other');
const os = as('ra-clerk', 'ra', 'show', o).sign_serial;
await clerk.fill('[name=serial]', os);
await press(clerk, 'button:has-text("开始或继续")');
for (const [cause, word] of [['fault', '本机构录入或签发有误'], ['change', '持有人的信息发生变化']]) {
  await clerk.goto(`${site}/guide/amend?serial=${os}`);
  await press(clerk, `main a.button:has-text("${word}")`);
  await clerk.waitForSelector('select[name=cause]');
  assert.equal(await clerk.inputValue('select[name=cause]'), cause);
}
await clerk.goto(`${site}/guide/reissue?serial=${os}`);
await shot(clerk, 'guide-open');
for (const [word, title] of [['报失并撤销', '撤销证书'], ['先冻结待查', '冻结证书'], ['不停用，直接补办', '证书补办']]) {
  await clerk.goto(`${site}/guide/reissue?serial=${os}`);
  await press(clerk, `main a.button:has-text("${word}")`);
  await clerk.waitForSelector(`header h1:has-text("${title}")`);
}
await clerk.goto(site + '/reminders');
await clerk.waitForSelector('.note:has-text("本系统不发送邮件或短信")');
await shot(clerk, 'reminders');
await clerk.click('summary:has-text("含姓名的导出")');
await clerk.fill('form[action="/api/v1/reminders.csv"] [name=reason]', '逐一电话通知');
const [reminded] = await Promise.all([clerk.waitForEvent('download'), press(clerk, 'button:has-text("导出含姓名的提醒")')]);
assert.equal(reminded.suggestedFilename(), 'reminders.csv');

// What the registration console has besides, its own test presses.
const count = await finish(['更正引导', '退出', '新申请', '批量录入', '撤销证书', '查证书', '帮助', '审计', '不予通过', '下载证书', '冻结', '解冻', '撤销', '证书更新', '证书延期', '证书信息变更', '证书补办', '加密密钥恢复',
  '复制', '查看号码', '保存草稿', '取消', '证据文件', '下载交付包', '查询', '清除', '移除', '签名并撤销证书', '签名并冻结证书', '关闭', '签名并提交', '打开', '登录', '录入第一件申请', '私钥已打开', '私钥未打开', '修改草稿', '打印申请表']);
console.log(`self: ${count} buttons pressed; renewal with a key made in the page, freezing, revocation, two paths at the counter`);
