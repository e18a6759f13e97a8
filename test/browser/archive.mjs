// The auditor's page beside the trail: a period is closed with a signature, its file
// is queried and taken away and verified, figures and the system's log are read. At
// each of the three systems; who is no auditor is refused.
import { execFileSync } from 'node:child_process';
import assert from 'node:assert/strict';
import { desk, dir, endpoints, finish, goTo, hufu, people, press, shot, sign } from './lib.mjs';

for (const [room, site, home] of [['ca', endpoints.ca_console, '运行总览'], ['km', endpoints.km_console, '运行总览'], ['ra', endpoints.ra, '工作台']]) {
  const who = `${room}-auditor`, page = await desk(who, site, home);
  await goTo(page, '审计'); // not loaded anew: the key stays open
  await press(page, 'form[data-mark] button');
  await page.waitForSelector('#statement:has-text("标记已审计")');
  await sign(page);
  await page.waitForSelector('td:has-text("已审计")');
  await press(page, 'a.button:has-text("归档、统计与系统日志")');
  await page.waitForSelector('h1:has-text("归档、统计与系统日志")');
  await page.waitForSelector('text=还没有归档的期间');
  await press(page, 'form[data-mark="archive"] button');
  await page.waitForSelector('#statement:has-text("日志归档")');
  await sign(page);
  await page.waitForSelector('td:has-text("0 至")');
  const [got] = await Promise.all([page.waitForEvent('download'), press(page, 'a.button:has-text("下载")')]);
  const file = `${dir}/../period-${room}.zip`;
  await got.saveAs(file);
  assert.match(execFileSync(hufu, ['verify', file, '--key', `${people}/audit-${room}.pem`], { encoding: 'utf8' }), /账本完好/);
  await press(page, 'a.button:text-is("查询")');
  await page.waitForSelector('h2:has-text("第 1 期的记录")');
  await page.fill('form:has([name="n"]) [name="item"]', 'person.add');
  await press(page, 'button:has-text("查询归档")');
  await page.waitForSelector('h2:has-text("第 1 期的记录")');
  await page.waitForSelector('td:text-is("person.add")');
  await page.fill('[name="q"]', '自检');
  await press(page, 'button:has-text("统计")');
  await page.waitForSelector('td:has-text("自检通过")');
  await shot(page, `archive-${room}`);
  await press(page, 'a.button:has-text("清除")');
  await page.waitForSelector('h2:has-text("系统日志")');
  await press(page, 'a.button:has-text("审计记录")');
  await page.waitForSelector('header h1:text-is("审计")');
  const other = await desk(`${room}-super`, site, home);
  await other.goto(`${site}/audit/archives`);
  await other.waitForSelector('text=无权');
}

// A business administrator is offered the appointment of custodians.
const admin = await desk('ca-admin', endpoints.ca_console, '运行总览');
await goTo(admin, '人员');
await press(admin, 'a.button:has-text("新增份额保管人")');
await admin.waitForSelector('[name="content.csr"]');
console.log(`archive: ${await finish(['导出（可离线核验）', '退出', '取消', '打开', '私钥已打开', '私钥未打开', '下一页', '回到第一页', '新增业务操作员', '冻结', '解冻', '撤销', '更新证书', '下载证书', '查看并签名', '提议变更', '包括历史证书'])} buttons pressed`);
