// The consoles of the CA, the key centre and the registration desk, as the
// people use them who make and stop other people: somebody is proposed, agreed
// to, renewed, frozen, brought back and revoked; a proposal is turned down and
// one is withdrawn. Outcomes are read from the interface, not from the page.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import assert from 'node:assert/strict';
import { as, desk, dir, endpoints, finish, goTo, hufu, key, last, openKey, people, press, shot, sign } from './lib.mjs';

const ended = { ca: endpoints.ca_console, km: endpoints.km_console, ra: endpoints.ra };

async function until(room, who, id, state) {
  for (let i = 0; i < 150; i++) {
    const v = as(who, room, 'change', id);
    if (v.state === state) return v;
    await new Promise(r => setTimeout(r, 100));
  }
  throw new Error(`${id} does not come to ${state}`);
}
const standing = (room, who, id) => as(who, room, 'people').filter(p => p.id === id).map(p => p.state);
async function comes(room, who, id, want) {
  for (let i = 0; JSON.stringify(standing(room, who, id)) !== JSON.stringify(want); i++) {
    assert.ok(i < 100, `${id} does not come to ${want}: ${standing(room, who, id)}`);
    await new Promise(r => setTimeout(r, 100));
  }
}

// file fills the form in view and signs; the id of what came of it is returned.
async function file(page, values) {
  for (const [name, v] of Object.entries(values)) await page.fill(`[name="${name}"]`, v);
  await press(page, 'form[data-order] button.primary');
  await page.waitForSelector('#statement:has-text("人员")');
  await sign(page);
  await page.waitForURL(/\/changes\/P/);
  return last(page);
}
// decide opens a proposal from the list of what waits, and signs.
async function decide(page, who, site, id, act, text) {
  await page.goto(`${site}/changes?state=proposed`);
  await page.click(`a:has-text("${id}")`);
  await page.waitForSelector(`header h1:has-text("${id}")`);
  await page.fill(`form:has([data-act="${act}"]) textarea`, text);
  await press(page, `[data-act="${act}"]`);
  await openKey(page, '#unlock', who); // the page was loaded anew
  await press(page, '#unlock button.primary');
  await page.waitForSelector(`#statement:has-text("${text}")`);
  await sign(page);
  await page.waitForSelector('.time >> text=' + text);
}
const act = (page, id, word) => press(page, `tr:has-text("${id}") a:has-text("${word}")`);

// life takes somebody from appointment to leaving at one console.
async function life({ room, proposer, confirmer, looker, role, add, id, name }) {
  const site = ended[room], home = room === 'ra' ? '工作台' : '运行总览';
  const a = await desk(proposer, site, home), b = await desk(confirmer, site, home), c = await desk(looker, site, home);
  if (room !== 'ra') {
    await a.waitForSelector('td:has-text("磁盘")');
    const checks = as(proposer, room, 'overview');
    assert.ok(checks.length >= 6 && checks.every(x => x.state === 'good' || x.advice), 'whatever is not good says what to do');
    assert.equal(await a.locator('main table').first().locator('tbody tr').count(), checks.length);
    await shot(a, `${room}-overview`);
  }
  await goTo(a, '变更');
  await shot(a, `${room}-changes-empty`);
  await press(a, 'a.button:has-text("提议变更")');
  await shot(a, `${room}-matters`);
  await goTo(a, '人员');
  await shot(a, `${room}-people`);
  await press(a, `a.button:has-text("${add}")`);

  // A form filled in wrong says where; one is withdrawn, one turned down, one agreed to.
  const mine = key('本人', 'eight-or-more');
  await a.fill('[name="content.id"]', 'x-' + id);
  await a.fill('[name="content.name"]', name);
  await a.fill('[name="content.csr"]', mine.csr);
  await press(a, 'form[data-order] button.primary');
  await a.waitForSelector('.why:has-text("编号应以")');
  await shot(a, `${room}-propose-refused`);
  await press(a, 'a.button:has-text("取消")');
  await goTo(a, '人员');
  await press(a, `a.button:has-text("${add}")`);
  const values = { 'content.id': id, 'content.name': name, 'content.csr': mine.csr };
  let p = await file(a, values);
  await shot(a, `${room}-proposed`);
  await press(a, 'button.tiny:has-text("复制")');
  await press(a, '[data-act="withdraw"]');
  await sign(a);
  await a.waitForSelector('.tag:has-text("已撤回")');
  await until(room, proposer, p, 'withdrawn');
  for (const [how, text, state] of [['reject', '再核实', 'rejected'], ['confirm', '同意', 'done']]) {
    await goTo(a, '人员');
    await press(a, `a.button:has-text("${add}")`);
    p = await file(a, values);
    await decide(b, confirmer, site, p, how, text);
    await until(room, proposer, p, state);
  }
  await comes(room, proposer, id, ['active']);
  await b.goto(`${site}/changes/${p}`);
  await b.waitForSelector('.tag:has-text("已执行")');
  await shot(b, `${room}-done`);

  // They sign in with the key they made.
  mkdirSync(`${people}/${id}`, { recursive: true });
  cpSync(mine.file, `${people}/${id}/key.pem`);
  writeFileSync(`${people}/${id}/pass`, 'eight-or-more');
  execFileSync(hufu, ['as', proposer, '--dir', dir, room, 'cert', id, '--out', `${people}/${id}/cert.pem`]);
  const them = await desk(id, site, home);
  await goTo(them, '人员');

  // Frozen by one, they are out where they stand; two bring them back.
  await goTo(a, '人员');
  await act(a, id, '冻结');
  p = await file(a, { 'content.reason': '丢失密码钥匙' });
  await until(room, proposer, p, 'done');
  await comes(room, proposer, id, ['frozen']);
  await them.goto(`${site}/people`);
  await them.waitForSelector('h1:has-text("登录")');
  await goTo(a, '人员');
  await a.waitForSelector(`tr:has-text("${id}") .tag:has-text("已冻结")`);
  await shot(a, `${room}-frozen`);
  await act(a, id, '解冻');
  p = await file(a, { 'content.reason': '已找回' });
  await decide(b, confirmer, site, p, 'confirm', '已核实');
  await until(room, proposer, p, 'done');
  await comes(room, proposer, id, ['active']);

  // A new key; the old certificate is history.
  await goTo(a, '人员');
  await act(a, id, '更新');
  p = await file(a, { 'content.csr': key('本人').csr });
  await decide(b, confirmer, site, p, 'confirm', '密钥到期');
  await until(room, proposer, p, 'done');
  for (let i = 0; standing(room, proposer, id).length !== 2; i++) { assert.ok(i < 50); await new Promise(r => setTimeout(r, 100)); }
  assert.deepEqual(standing(room, proposer, id).sort(), ['active', 'ended']);

  // They leave.
  await goTo(a, '人员');
  await act(a, id, '撤销');
  p = await file(a, { 'content.reason': '离岗' });
  await decide(b, confirmer, site, p, 'confirm', '交接完毕');
  await until(room, proposer, p, 'done');
  await comes(room, proposer, id, ['ended', 'ended']);
  await goTo(a, '人员');
  assert.equal(await a.locator(`tr:has-text("${id}")`).count(), 0, 'whoever left is not among those here');
  await press(a, 'a.button:has-text("包括历史证书")');
  await a.waitForSelector(`tr:has-text("${id}") .tag:has-text("已终止")`);
  await shot(a, `${room}-history`);
  await press(a, 'a.button:has-text("只看在册")');
  const [pem] = await Promise.all([a.waitForEvent('download'), a.click(`tr:has-text("${proposer}") a:has-text("证书")`)]);
  assert.equal(pem.suggestedFilename(), `${proposer}.pem`);
  await goTo(a, '变更');
  await a.selectOption('[name=state]', 'rejected');
  await a.waitForURL(/state=rejected/);
  await shot(a, `${room}-rejected`);

  // Whoever has no say sees how things stand and is offered nothing.
  await goTo(c, '变更');
  assert.equal(await c.locator('a.button:has-text("提议变更")').count(), 0);
  await c.goto(`${site}/propose`);
  await c.waitForSelector('.empty:has-text("没有可以提议")');
  await shot(c, `${room}-nothing-to-propose`);
  await c.goto(`${site}/changes/P0`);
  await c.waitForSelector('.problem:has-text("没有此变更")');
  await press(c, 'a.button:has-text("回到首页")');
  return { a, b, c, site };
}

async function audit(room, name, what) {
  const page = await desk(name, ended[room], '运行总览');
  await goTo(page, '审计');
  await page.fill('[name=object]', what);
  await press(page, 'form.filter button');
  await page.waitForSelector('td:has-text("person.freeze")');
  await shot(page, `${room}-audit`);
  await press(page, 'a.button:has-text("清除")');
  await press(page, 'button:has-text("全部标记已审计")');
  await sign(page);
  await page.waitForSelector('td:has-text("已审计")');
  await press(page, 'a.button[rel=next]');
  await press(page, 'a.button:has-text("回到第一页")');
  const [trail] = await Promise.all([page.waitForEvent('download'), press(page, 'a.button:has-text("导出（可离线核验）")')]);
  await trail.saveAs(`${dir}/../audit-${room}.zip`);
  execFileSync(hufu, ['verify', `${dir}/../audit-${room}.zip`, '--key', `${people}/audit-${room}.pem`]);
  return page;
}

const ca = await life({ room: 'ca', proposer: 'ca-admin', confirmer: 'ca-super', looker: 'ca-auditor', role: 'ca.operator', add: '新增业务操作员', id: 'ca-test', name: '测试员<b>甲' });
const caAudit = await audit('ca', 'ca-auditor', 'ca-test');
const km = await life({ room: 'km', proposer: 'km-admin', confirmer: 'km-super', looker: 'km-auditor', role: 'km.operator', add: '新增密钥管理业务操作员', id: 'km-test', name: '测试员乙' });
await audit('km', 'km-auditor', 'km-test');
const ra = await life({ room: 'ra', proposer: 'ra-admin', confirmer: 'ra-super', looker: 'ra-auditor', role: 'ra.clerk', add: '新增录入员', id: 'ra-test', name: '测试员丙' });

// The overview says what waits for a second person.
await goTo(ca.a, '人员');
await act(ca.a, 'ca-operator2', '撤销');
const waiting = await file(ca.a, { 'content.reason': '岗位调整' });
await goTo(ca.b, '运行总览');
await ca.b.waitForSelector(`a:has-text("${waiting}")`);
await shot(ca.b, 'ca-overview-waiting');
await ca.b.click('h2 a:has-text("全部")');
await ca.b.waitForSelector('header h1:has-text("变更")');
// The other additions are offered to whom they belong.
const operator = await desk('ca-operator', endpoints.ca_console, '运行总览');
for (const [page, words] of [[operator, ['新增注册业务管理员', '新增注册审计员']], [ca.b, ['新增业务管理员']], [km.b, ['新增密钥管理业务管理员']], [km.a, ['新增司法取证员']], [ra.a, ['新增审核员', '新增制证员']]]) {
  for (const w of words) {
    await goTo(page, '人员');
    await press(page, `a.button:has-text("${w}")`);
    await page.waitForSelector(`header h1:has-text("${w}")`);
  }
}
await press(ca.a, '[data-unlock]');
await press(ca.a, '[data-unlock]');
await press(ca.a, '#unlock [data-close]');
await goTo(ca.a, '人员');
await act(ca.a, 'ca-operator', '冻结');
await ca.a.fill('[name="content.reason"]', '不签名');
await press(ca.a, 'form[data-order] button.primary');
await openKey(ca.a, '#unlock', 'ca-admin');
await press(ca.a, '#unlock button.primary');
await press(ca.a, '#no-sign');
assert.deepEqual(standing('ca', 'ca-admin', 'ca-operator'), ['active'], 'not signed, not done');
await press(caAudit, '[data-sign-out]');
await caAudit.waitForSelector('h1:has-text("登录")');

const count = await finish(['归档、统计与系统日志', '新增份额保管人', '录入第一件申请', '新申请', '批量录入', '撤销证书', '查证书', '审计', '帮助']); // pressed in console.mjs
console.log(`manage: ${count} buttons pressed; three people made, renewed, frozen, brought back and revoked`);
