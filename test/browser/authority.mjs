// A subordinate CA from the pages: an administrator proposes it in the form, a
// super administrator agrees, two operators release it with their signatures and
// no share, and the certificate is there.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import assert from 'node:assert/strict';
import { as, desk, dir, endpoints, finish, goTo, hufu, last, openKey, press, shot, sign } from './lib.mjs';

const site = endpoints.ca_console;
execFileSync(hufu, ['key', '--out', `${dir}/../sub.pem`, '--csr', `${dir}/../sub.csr`, '--subject', '/C=CN/O=某某局（样例）/CN=页面办理的下级 CA']);
const a = await desk('ca-admin', site, '运行总览');
await goTo(a, '变更');
await press(a, 'a.button:has-text("提议变更")');
await press(a, 'a:has-text("签发下级 CA 证书")');
await a.fill('[name="content.csr"]', readFileSync(`${dir}/../sub.csr`, 'utf8'));
await a.selectOption('[name="content.issuer"]', 'operating');
await a.fill('[name="content.path_len"]', '0');
await a.fill('[name="content.days"]', '3650');
await a.fill('[name="content.policies"]', '2.999.1.1.1\n2.999.1.1.2');
await press(a, 'form[data-order] button.primary');
await a.waitForSelector('.why:has-text("路径长度为 0")');
await a.selectOption('[name="content.issuer"]', 'root');
await press(a, 'form[data-order] button.primary');
await a.waitForSelector('#statement:has-text("许可的策略")');
await sign(a);
await a.waitForURL(/\/changes\/P/);
const id = last(a);
await shot(a, 'authority-proposed');

async function step(who, act, text) {
  const p = await desk(who, site, '运行总览');
  await p.goto(`${site}/changes/${id}`);
  await p.fill(`form:has([data-act="${act}"]) textarea`, text);
  await press(p, `[data-act="${act}"]`);
  await openKey(p, '#unlock', who);
  await press(p, '#unlock button.primary');
  await p.waitForSelector(`#statement:has-text("${text}")`);
  await sign(p);
  await p.waitForSelector('.time >> text=' + text);
  await shot(p, `authority-${act}-${who}`);
  return p;
}
await step('ca-super', 'confirm', '同意签发');
await step('ca-operator', 'release', '甲放行');
const p = await step('ca-operator2', 'release', '乙放行');
for (let i = 0; as('ca-admin', 'ca', 'change', id).state !== 'done'; i++) {
  assert.ok(i < 100, 'the certificate does not come');
  await new Promise(r => setTimeout(r, 100));
}
await p.goto(`${site}/changes/${id}`);
await p.waitForSelector('.tag:has-text("已执行")');
const got = p.waitForEvent('download');
await press(p, 'a.button:has-text("下载证书")');
const file = await got;
assert.equal(file.suggestedFilename(), `${id}.pem`);
assert.match(readFileSync(await file.path(), 'utf8'), /BEGIN CERTIFICATE/);

const count = await finish(['取消', '私钥已打开', '私钥未打开', '退出', '复制', '撤回', '不批准']); // pressed in manage.mjs
console.log(`authority: ${count} buttons pressed; a subordinate CA proposed, agreed, released by two and handed out`);
