// The register of units in the registration console: a clerk brings one with its
// letter, a reviewer approves, its people are read with a reason, an application
// takes its fields from it, it is suspended. Outcomes are read from the interface.
import { readFileSync, writeFileSync } from 'node:fs';
import assert from 'node:assert/strict';
import { as, csr, desk, dir, endpoints, finish, goTo, last, openKey, press, shot, sign } from './lib.mjs';

const site = endpoints.ra, code = '91350100M000100Y43';

const clerk = await desk('ra-clerk');
await goTo(clerk, '单位');
await shot(clerk, 'units-empty');
await press(clerk, 'a.button:has-text("登记单位")');
await clerk.waitForSelector('h1:has-text("登记单位")');
await clerk.fill('[name=code]', '91350100M000100Y44');
for (const [name, v] of Object.entries({ name: '某某局（样例）', ST: '北京市', 'agent.legal': '李大明', 'agent.name': '王小明', 'agent.phone': '010-12345678', 'agent.number': '11010519491231002X', 'letter.from': '2026-01-01', 'letter.to': '2099-12-31' }))
  await clerk.fill(`[name="${name}"]`, v);
writeFileSync(`${dir}/../letter.txt`, '授权书（样例）');
await clerk.setInputFiles('[data-evidence]', `${dir}/../letter.txt`);
await clerk.waitForSelector('#letter code');
await press(clerk, '#letter [data-drop]');
await clerk.waitForSelector('#letter code', { state: 'detached' });
await clerk.setInputFiles('[data-evidence]', `${dir}/../letter.txt`);
await clerk.waitForSelector('#letter code');
await clerk.setInputFiles('[data-evidence]', `${dir}/../letter.txt`); // the last one counts
await press(clerk, 'button:has-text("保存草稿")');
await clerk.waitForSelector('.problem:has-text("校验位")');
assert.equal(await clerk.locator('#letter li').count(), 1);
await clerk.fill('[name=code]', code);
await press(clerk, 'button:has-text("保存草稿")');
await clerk.waitForURL(/\/cases\/U/);
const id = last(clerk);
await press(clerk, '[data-act="ra.submit"]');
await sign(clerk);
await clerk.waitForSelector('.time >> text=提交审核');

const reviewer = await desk('ra-reviewer');
await reviewer.goto(`${site}/cases/${id}`);
await press(reviewer, '[data-act="ra.approve"]');
await openKey(reviewer, '#unlock', 'ra-reviewer'); // the page was loaded anew
await press(reviewer, '#unlock button.primary');
await sign(reviewer);
await reviewer.waitForSelector('.time >> text=审核通过');
assert.equal(as('ra-auditor', 'ra', 'unit', 'show', code).status, 'good');

await goTo(clerk, '单位');
await clerk.waitForSelector(`a:has-text("${code}")`);
assert.equal(await clerk.locator('td:has-text("王＊")').count(), 1);
assert.equal(await clerk.locator('text=王小明').count(), 0);
await shot(clerk, 'units');
await clerk.fill('[name=q]', '没有这家');
await press(clerk, 'button:has-text("查询")');
await clerk.waitForSelector('text=没有符合条件的单位');
await clerk.fill('[name=q]', code);
await press(clerk, 'button:has-text("查询")');
await clerk.waitForSelector(`a:has-text("${code}")`);
await clerk.fill('form:has(button:has-text("导出法定代表人")) [name=reason]', '年度核对');
const [all] = await Promise.all([clerk.waitForEvent('download'), press(clerk, 'button:has-text("导出法定代表人和经办人")')]);
assert.ok(readFileSync(await all.path(), 'utf8').includes('王小明'));
const columns = 'code,name,ST,L,legal,agent_name,agent_phone,agent_email,agent_kind,agent_number,letter,letter_from,letter_to';
writeFileSync(`${dir}/../units.csv`, `${columns}\n${code},已登记,,,,张三,010-12345678,,resident-id,11010519491231002X,00,2026-01-01,2099-12-31\n`);
await clerk.setInputFiles('form[data-upload] input[type=file]', `${dir}/../units.csv`);
await press(clerk, 'form[data-upload] button');
await clerk.waitForURL(/\/sheets\/B/);
await clerk.waitForSelector('text=单位已经登记');
await goTo(clerk, '单位');
await clerk.click(`a:has-text("${code}")`);
await clerk.waitForSelector('h2:has-text("某某局（样例）")');
await clerk.click('summary:has-text("查看完整信息")');
await clerk.fill('form[data-reveal] [name=reason]', '电话核实');
await press(clerk, 'form[data-reveal] button');
await clerk.waitForSelector('output:has-text("王小明")');
await shot(clerk, 'unit');

await press(clerk, 'a.button:has-text("变更登记")');
await clerk.waitForSelector('h1:has-text("变更单位")');
await clerk.fill('[name="agent.phone"]', '010-87654321');
await press(clerk, 'button:has-text("保存草稿")');
await clerk.waitForURL(/\/cases\/U/);
await clerk.waitForSelector('dd:has-text("变更")');
await clerk.goto(`${site}/units/${code}`);

// an application from the unit: name and code are its own
await press(clerk, 'a.button:has-text("以此单位申请证书")');
await clerk.waitForSelector('select[name=profile]');
const of = 'fieldset[data-of="organisation-dual"] ';
assert.equal(await clerk.inputValue(of + '[name="subject.O"]'), '某某局（样例）');
await clerk.fill(of + '[name="subject.CN"]', '某某局（样例）');
await clerk.selectOption(of + '[name="identity.kind"]', 'credit-code');
await clerk.fill('#csr', csr('某某局（样例）'));
for (const box of await clerk.locator('input[type=checkbox]').all()) await box.check();
await press(clerk, 'button:has-text("保存草稿")');
await clerk.waitForURL(/\/cases\/A/);
const v = as('ra-clerk', 'ra', 'show', last(clerk));
assert.equal(v.application.unit, code);
assert.equal(v.application.subject.O, '某某局（样例）');

// suspended: asked for with a reason, decided as any case
await clerk.goto(`${site}/units/${code}`);
await clerk.fill('form[data-post] textarea', '单位注销');
await press(clerk, 'button:has-text("停用登记")');
await clerk.waitForURL(/\/cases\/U/);
await shot(clerk, 'unit-suspend');
await clerk.goto(`${site}/bodies`);
await clerk.waitForSelector('h2:has-text("审核级数")');
await shot(clerk, 'bodies');
await clerk.goto(`${site}/statistics`);
await clerk.waitForSelector('h2:has-text("业务量")');
await shot(clerk, 'statistics');
console.log(`units: ${await finish(['取消', '复制', '退出', '私钥已打开', '私钥未打开', '作废草稿', '打印申请表', '打印回执', '退回修改', '不予通过', '撤回'])} buttons pressed; one registered, read, applied from and suspended`);
