// The registration console, as people use it: three people carry one application
// to a certificate, a sheet of 200 rows with 7 errors is taken in, approved and
// issued, the auditor marks and exports, a pair is revoked. Every button of the
// console is pressed; outcomes are read from the interface, not from the page.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import assert from 'node:assert/strict';
import { as, browser, csr, desk, dir, endpoints, finish, goTo, hufu, last, openKey, people, press, shot, sign } from './lib.mjs';

const site = endpoints.ra;
async function until(id, state) {
  for (let i = 0; i < 150; i++) {
    const v = as('ra-clerk', 'ra', 'show', id);
    if (v.state === state) return v;
    await new Promise(r => setTimeout(r, 100));
  }
  throw new Error(`${id} does not come to ${state}`);
}

// A stranger sees the door and nothing else.
{
  const page = await browser.newPage();
  await page.goto(site + '/cases');
  await page.waitForSelector('h1:has-text("登录")');
  await shot(page, 'sign-in');
  await openKey(page, 'form[data-sign-in]', 'ra-clerk');
  await page.fill('[name=pass]', 'wrong');
  await page.click('form[data-sign-in] button');
  await page.waitForSelector('.problem:has-text("口令不对")');
  const junk = (name, body) => { writeFileSync(`${dir}/../${name}`, body); return `${dir}/../${name}`; };
  const armour = (type, body) => `-----BEGIN ${type}-----\n${body}\n-----END ${type}-----\n`;
  for (const [field, file, says] of [
    ['cert', junk('text.pem', 'hello'), '证书文件里没有证书'], ['cert', junk('cut.pem', armour('CERTIFICATE', '!!!!')), '证书文件已损坏'], ['cert', junk('other.pem', armour('CERTIFICATE', 'aGVsbG8=')), '证书文件已损坏'],
    ['key', junk('key.pem', armour('ENCRYPTED PRIVATE KEY', 'aGVsbG8=')), '私钥文件已损坏'], ['key', junk('short.pem', armour('ENCRYPTED PRIVATE KEY', 'MAMCAQA=')), '私钥文件不是口令加密的 PKCS#8'],
    ['cert', junk('der.pem', armour('CERTIFICATE', 'MAMCAQA=')), '这不是 SM2 证书'],
  ]) {
    await openKey(page, 'form[data-sign-in]', 'ra-clerk');
    await page.setInputFiles(`[name=${field}]`, file);
    await page.click('form[data-sign-in] button');
    await page.waitForSelector(`.problem:has-text("${says}")`);
  }
  await page.close();
}

// One application.
const clerk = await desk('ra-clerk');
await shot(clerk, 'home-empty');
await press(clerk, 'a.button:has-text("录入第一件申请")');
await clerk.waitForSelector('select[name=profile]');
await clerk.selectOption('select[name=profile]', 'organisation-dual');
await clerk.waitForSelector('fieldset[data-of="organisation-dual"]:visible');
await clerk.selectOption('select[name=profile]', 'person-dual');
const of = 'fieldset[data-of="person-dual"] ';
await clerk.fill(of + '[name="subject.O"]', '某某局（样例）');
await clerk.fill(of + '[name="subject.CN"]', '张三');
await clerk.fill(of + '[name="identity.number"]', '110105194912310021');
writeFileSync(`${dir}/../scan.txt`, '身份证正反面扫描（样例）');
await clerk.setInputFiles('[data-evidence]', `${dir}/../scan.txt`);
await press(clerk, '#evidence [data-drop]');
await clerk.waitForSelector('#evidence code', { state: 'detached' });
await clerk.setInputFiles('[data-evidence]', `${dir}/../scan.txt`);
await clerk.waitForSelector('#evidence code');
writeFileSync(`${dir}/../one.csr`, csr('张三'));
await clerk.setInputFiles('[data-into]', `${dir}/../one.csr`);
await clerk.waitForFunction(() => document.querySelector('#csr').value.includes('BEGIN'));
await press(clerk, 'button:has-text("保存草稿")');
await clerk.waitForSelector('.why:has-text("校验位")');
assert.equal(await clerk.getAttribute(of + '[name="identity.number"]', 'aria-invalid'), 'true', 'the field at fault is marked');
assert.equal(await clerk.inputValue(of + '[name="subject.CN"]'), '张三', 'what was typed stays');
await shot(clerk, 'refusal');
await clerk.fill(of + '[name="identity.number"]', '11010519491231002X');
for (const t of await clerk.locator('label.tick input').all()) await t.check();
await press(clerk, 'button:has-text("保存草稿")');
await press(clerk, 'a.button:has-text("修改草稿")');
await clerk.waitForSelector('#evidence code');
await press(clerk, 'a.button:has-text("取消")');
await clerk.waitForSelector('header h1:has-text("案件")');
await clerk.click('tbody a >> nth=0');
await press(clerk, '[data-act="ra.submit"]');
await clerk.waitForSelector('#statement:has-text("注册系统")');
await shot(clerk, 'sign');
await press(clerk, '#no-sign');
await press(clerk, '[data-act="ra.submit"]');
await sign(clerk);
await clerk.waitForSelector('.steps .now:has-text("待审核")');
const id = last(clerk);
assert.equal(as('ra-clerk', 'ra', 'show', id).state, 'submitted');
assert.equal(as('ra-clerk', 'ra', 'show', id).application.check.evidence.length, 1, 'the evidence is named by its digest');
await press(clerk, 'button:has-text("复制")');

// It is withdrawn, submitted again, returned with a reason and corrected.
await press(clerk, '[data-act="ra.withdraw"]');
await sign(clerk);
await press(clerk, '[data-act="ra.submit"]');
await sign(clerk);
await until(id, 'submitted');
const reviewer = await desk('ra-reviewer');
await shot(reviewer, 'home-reviewer');
await reviewer.click(`text=${id}`);
await reviewer.fill('form:has([data-act="ra.return"]) textarea', '请核对部门');
await press(reviewer, '[data-act="ra.return"]');
await sign(reviewer);
await until(id, 'drafted');
await clerk.reload();
await press(clerk, 'a.button:has-text("修改草稿")');
await clerk.waitForSelector('.note:has-text("请核对部门")');
await clerk.fill(of + '[name="subject.OU"]', '办公室');
await clerk.fill(of + '[name="identity.number"]', '11010519491231002X');
await press(clerk, 'button:has-text("保存草稿")');

// After a reload the key has to be opened again: another's is refused.
await press(clerk, '[data-act="ra.submit"]');
await clerk.waitForSelector('#unlock[open]');
await openKey(clerk, '#unlock', 'ra-clerk2');
await press(clerk, '#unlock button.primary');
await clerk.waitForSelector('#unlock .problem:has-text("不是当前登录人员")');
await openKey(clerk, '#unlock', 'ra-clerk');
await press(clerk, '#unlock button.primary');
await sign(clerk);
await until(id, 'submitted');

// A stale page is refused and changes nothing.
await reviewer.goto(`${site}/cases/${id}`);
as('ra-clerk', 'ra', 'withdraw', id);
await press(reviewer, '[data-act="ra.approve"]');
await reviewer.waitForSelector('.problem:has-text("当前状态不能")');
assert.equal(as('ra-clerk', 'ra', 'show', id).state, 'drafted');
as('ra-clerk', 'ra', 'submit', id);

await reviewer.reload();
await reviewer.fill('form:has([data-act="ra.approve"]) textarea', '材料齐全');
await press(reviewer, '[data-act="ra.approve"]');
await openKey(reviewer, '#unlock', 'ra-reviewer');
await press(reviewer, '#unlock button.primary');
await sign(reviewer);
await until(id, 'issued');

const producer = await desk('ra-producer');
await producer.click(`text=${id}`);
await press(producer, '[data-act="ra.produce"]');
await sign(producer);
const [pack] = await Promise.all([producer.waitForEvent('download'), press(producer, 'a.button:has-text("下载交付包")')]);
await pack.saveAs(`${dir}/../pack.zip`);
execFileSync('python3', ['-c', `import zipfile; z=zipfile.ZipFile("${dir}/../pack.zip"); assert sorted(z.namelist())==["chain.pem","enc.pem","sealed-key.der","sign.pem"], z.namelist()`]);
const done = await until(id, 'delivered');
assert.ok(done.sign && done.enc, 'both certificates');
assert.equal(done.events.filter(e => e.did === 'approve').pop().note, '材料齐全');
await shot(producer, 'case');

// What goes on paper can be read back: an independent decoder finds the case's
// number in the bars of the printed form, receipt and list.
const bars = file => execFileSync('zbarimg', ['-q', '--raw', '-Sdisable', '-Scode128.enable', file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim().split('\n');
await press(producer, 'a.button:has-text("打印申请表")');
await producer.waitForSelector('h2:has-text("证书申请表")');
assert.match(await producer.textContent('.paper'), /第二十一条/, 'the form says what was told, and by which article');
for (const [where, button] of [['form', '打印'], ['receipt', '打印'], ['list', '打印清单']]) {
  if (where === 'receipt') { await press(producer, 'a.button:has-text("回到案件")'); await press(producer, 'a.button:has-text("打印回执")'); await producer.waitForSelector('h2:has-text("办结回执")'); }
  if (where === 'list') { await goTo(producer, '制证清单'); await producer.selectOption('[name=state]', 'delivered'); await producer.waitForSelector('h2:has-text("已交付")'); }
  const file = `${dir}/../paper-${where}`;
  await producer.evaluate(() => { window.printed = 0; window.print = () => { window.printed++; }; });
  await press(producer, `button:text-is("${button}")`);
  assert.equal(await producer.evaluate(() => window.printed), 1, 'the printer is asked');
  await producer.pdf({ path: file + '.pdf', preferCSSPageSize: true });
  execFileSync('pdftoppm', ['-r', '300', '-png', '-singlefile', file + '.pdf', file + '-print']);
  assert.ok(bars(file + '-print.png').includes(id), `${where}: no bars with ${id}`);
  assert.equal(execFileSync('pdffonts', [file + '.pdf'], { encoding: 'utf8' }).split('\n').slice(2).filter(l => l && !/ yes +(yes|no) +yes/.test(l)).length, 0, 'every font is inside the file');
  await shot(producer, 'paper-' + where);
}
await goTo(producer, '工作台');
await producer.fill('form[action="/scanned"] [name=id]', id);
await press(producer, 'form[action="/scanned"] button');
await producer.waitForSelector(`h1:has-text("${id}")`);

// A draft is given up, another application is refused for good.
const form = { profile: 'person-dual', subject: { C: 'CN', CN: '李四' }, identity: { kind: 'resident-id', number: '11010519491231002X' }, csr: csr('李四') };
writeFileSync(`${dir}/../li.json`, JSON.stringify(form));
const li = as('ra-clerk', 'ra', 'draft', `${dir}/../li.json`).id;
await clerk.goto(`${site}/cases/${li}`);
await press(clerk, '[data-act="ra.discard"]');
await openKey(clerk, '#unlock', 'ra-clerk');
await press(clerk, '#unlock button.primary');
await sign(clerk);
await until(li, 'discarded');
const bad = as('ra-clerk', 'ra', 'submit', `${dir}/../li.json`).id;
await goTo(reviewer, '案件');
await reviewer.click(`text=${bad}`);
await reviewer.fill('form:has([data-act="ra.reject"]) textarea', '查无此人');
await press(reviewer, '[data-act="ra.reject"]');
await sign(reviewer);
await until(bad, 'rejected');

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
await goTo(clerk, '批量录入');
const [sample] = await Promise.all([clerk.waitForEvent('download'), press(clerk, 'a:has-text("下载样例")')]);
assert.match(readFileSync(await sample.path(), 'utf8'), /profile,C,ST/);
await clerk.setInputFiles('[name=file]', file);
await press(clerk, 'button:has-text("上传并检查")');
await clerk.waitForSelector('#summary:has-text("收下 193 行，退回 7 行")', { timeout: 60000 });
assert.equal(await clerk.locator('tr.bad').count(), 7);
await shot(clerk, 'sheet');
const batch = last(clerk);
await press(clerk, '#submit-batch');
await clerk.waitForSelector('#statement:has-text("193")');
await sign(clerk);
await clerk.waitForSelector('#summary:has-text("待提交 0 件")', { timeout: 60000 });
const [results] = await Promise.all([clerk.waitForEvent('download'), press(clerk, 'a:has-text("下载逐行结果")')]);
assert.equal(readFileSync(await results.path(), 'utf8').trim().split('\n').length, 201);
await press(clerk, 'button:has-text("暂停签发")');
await sign(clerk);
await press(clerk, 'button:has-text("恢复签发")');
await sign(clerk);
await clerk.waitForSelector('button:has-text("暂停签发")');
await press(clerk, 'a.button:has-text("查看案件")');
await clerk.waitForSelector('header h1:has-text("案件")');
assert.equal(as('ra-clerk', 'ra', 'list', '--state', 'submitted', '--limit', '200').cases.length, 193);

// The reviewer approves a page of them at once; the batch page follows.
await reviewer.goto(`${site}/sheets/${batch}`);
await press(reviewer, 'a.button:has-text("审核本批")');
await reviewer.waitForSelector('[data-all]');
await reviewer.check('[data-all]');
await press(reviewer, 'button:has-text("核准所选（50）")');
await openKey(reviewer, '#unlock', 'ra-reviewer');
await press(reviewer, '#unlock button.primary');
await sign(reviewer);
await reviewer.waitForSelector('#toast:has-text("已办理")');
await reviewer.check('[data-pick] >> nth=0');
await reviewer.fill('[aria-label="退回所选的原因"]', '照片不清');
await press(reviewer, 'button:has-text("退回所选（1）")');
await sign(reviewer);
await reviewer.waitForFunction(() => document.querySelectorAll('[data-pick]:checked').length === 0);
await reviewer.check('[data-pick] >> nth=0');
await reviewer.fill('[aria-label="不予通过的原因"]', '重复申请');
await press(reviewer, 'button:has-text("不予通过（1）")');
await sign(reviewer);
for (let i = 0; as('ra-clerk', 'ra', 'batch', batch).counts.issued !== 50; i++) {
  assert.ok(i < 100, 'the batch is issued');
  await new Promise(r => setTimeout(r, 200));
}
assert.equal(as('ra-clerk', 'ra', 'batch', batch).counts.rejected, 1);
await goTo(reviewer, '案件');
await press(reviewer, 'a.button:has-text("清除")');
await reviewer.goto(`${site}/cases`); // what is typed while a page is being swapped is lost
await reviewer.fill('[name=q]', '样例');
await press(reviewer, 'form.filter button');
await reviewer.waitForURL(/[?&]q=%/);
await press(reviewer, 'a.button[rel=next][href*="q=%"]'); // the filtered page's, not the one before
await reviewer.waitForURL(/after=/);
await press(reviewer, 'a.button:has-text("回到第一页")');
await reviewer.waitForURL(u => !u.search.includes('after='));
await shot(reviewer, 'cases');
const [list] = await Promise.all([reviewer.waitForEvent('download'), press(reviewer, 'a:has-text("导出 CSV")')]);
assert.equal(readFileSync(await list.path(), 'utf8').trim().split('\n').length, 194, 'all that match are exported, not one page');
await reviewer.click('summary:has-text("含姓名与证件号码的导出")');
await reviewer.fill('form[action="/api/v1/cases.csv"] [name=reason]', '年度核对');
const [named] = await Promise.all([reviewer.waitForEvent('download'), press(reviewer, 'button:has-text("导出个人信息")')]);
assert.ok(readFileSync(await named.path(), 'utf8').includes(good));
// The number of somebody's card finds their cases and is in no address.
await clerk.goto(site + '/cases');
await clerk.fill('[name=q]', '11010519491231002x');
await press(clerk, 'form.filter button.primary');
await clerk.waitForSelector('h2:has-text("按证件号码")');
assert.ok(/[?&]number=/.test(clerk.url()) && !/11010519491231002/i.test(clerk.url()), 'no number in the address: ' + clerk.url());
assert.ok(await clerk.locator('tbody tr').count() > 0, 'the cases are found');
const typed = await clerk.request.get(site + '/api/v1/cases?q=11010519491231002X');
assert.equal((await typed.json()).code, 'ra.number_in_url');
await clerk.goto(`${site}/cases?state=drafted`);
await clerk.check('[data-pick] >> nth=0');
await press(clerk, 'button:has-text("提交所选（1）")');
await openKey(clerk, '#unlock', 'ra-clerk');
await press(clerk, '#unlock button.primary');
await sign(clerk);
await clerk.waitForSelector('.empty');
const spare = as('ra-clerk', 'ra', 'draft', `${dir}/../li.json`).id;
await clerk.goto(`${site}/cases?state=drafted`);
await clerk.check('[data-pick] >> nth=0');
await press(clerk, 'button:has-text("作废所选（1）")');
await openKey(clerk, '#unlock', 'ra-clerk');
await press(clerk, '#unlock button.primary');
await sign(clerk);
await until(spare, 'discarded');
await producer.goto(`${site}/cases?state=issued`);
await producer.check('[data-pick] >> nth=0');
await press(producer, 'button:has-text("制证交付所选（1）")');
await openKey(producer, '#unlock', 'ra-producer');
await press(producer, '#unlock button.primary');
await sign(producer);
for (let i = 0; as('ra-clerk', 'ra', 'batch', batch).counts.delivered !== 1; i++) { assert.ok(i < 50); await new Promise(r => setTimeout(r, 100)); }

// Certificates are found, shown and taken away.
await goTo(clerk, '证书模板');
await shot(clerk, 'profiles');
await clerk.click('nav >> text="证书"');
await clerk.waitForSelector('header h1:has-text("证书")');
await clerk.fill('[name=q]', done.enc_serial);
await press(clerk, 'form.filter button');
await press(clerk, 'a.button:has-text("清除")');
await shot(clerk, 'certificates');
await clerk.goto(`${site}/certificates/${done.enc_serial}`);
await clerk.waitForSelector('td:has-text("密钥加密、数据加密、密钥协商")');
await shot(clerk, 'certificate');
const [pem] = await Promise.all([clerk.waitForEvent('download'), press(clerk, 'a.button:has-text("下载证书")')]);
assert.match(readFileSync(await pem.path(), 'utf8'), /BEGIN CERTIFICATE/);
await goTo(clerk, '账本与状态');
await clerk.waitForSelector('td:has-text("全量")');
await shot(clerk, 'ledger');
await goTo(clerk, '帮助');

// The auditor marks and exports; what is exported verifies.
const auditor = await desk('ra-auditor');
await goTo(auditor, '审计');
await auditor.fill('[name=object]', id);
await press(auditor, 'form.filter button');
await auditor.waitForSelector(`td:has-text("${id}")`);
await press(auditor, 'a.button:has-text("清除")');
await press(auditor, 'button:has-text("全部标记已审计")');
await sign(auditor);
await auditor.waitForSelector('td:has-text("已审计")');
await shot(auditor, 'audit');
assert.ok(as('ra-auditor', 'ra', 'audit', 'list', '--q', id).every(l => l.marked));
const [trail] = await Promise.all([auditor.waitForEvent('download'), press(auditor, 'a.button:has-text("导出（可离线核验）")')]);
await trail.saveAs(`${dir}/../audit.zip`);
execFileSync(hufu, ['verify', `${dir}/../audit.zip`, '--key', `${people}/audit-ra.pem`]);

// Frozen and released from the page; a renewal is drafted; then revoked.
async function agreed(rev) {
  await reviewer.goto(`${site}/cases/${rev}`);
  await press(reviewer, '[data-act="ra.approve"]');
  await openKey(reviewer, '#unlock', 'ra-reviewer');
  await press(reviewer, '#unlock button.primary');
  await sign(reviewer);
  await until(rev, 'done');
}
for (const [word, act, state] of [['冻结', '签名并冻结证书', 'delivered-held'], ['解冻', '签名并解冻证书', 'delivered']]) {
  await clerk.goto(`${site}/certificates/${done.sign_serial}`);
  await press(clerk, `a.button:text-is("${word}")`);
  await press(clerk, `button:has-text("${act}")`);
  await openKey(clerk, '#unlock', 'ra-clerk');
  await press(clerk, '#unlock button.primary');
  await sign(clerk);
  await clerk.waitForSelector('.steps .now:has-text("待审核")');
  await agreed(last(clerk));
  assert.equal((await until(id, state)).state, state);
}
for (const word of ['证书更新', '证书延期', '证书信息变更', '证书补办', '加密密钥恢复']) {
  await clerk.goto(`${site}/certificates/${done.sign_serial}`);
  await press(clerk, `a.button:has-text("${word}")`);
  await clerk.waitForSelector(`header h1:has-text("${word}")`);
  if (word === '证书更新') await shot(clerk, 'renew');
}
await clerk.goto(`${site}/apply?for=renew&serial=${done.sign_serial}`);
await clerk.fill('#csr', csr('张三'));
for (const t of await clerk.locator('label.tick input').all()) await t.check();
await press(clerk, 'button:has-text("保存草稿")');
await clerk.waitForSelector('dd:has-text("证书更新")');
const renewal = last(clerk);
assert.equal(as('ra-clerk', 'ra', 'show', renewal).application.replaces, done.sign_serial);
await press(clerk, '[data-act="ra.discard"]');
await openKey(clerk, '#unlock', 'ra-clerk');
await press(clerk, '#unlock button.primary');
await sign(clerk);
await until(renewal, 'discarded');

// Revocation from the page, agreed by another.
await clerk.goto(`${site}/cases/${id}`);
await press(clerk, 'a.button:has-text("撤销证书")');
await clerk.waitForSelector('.note:has-text("张三")');
await shot(clerk, 'revoke');
await press(clerk, 'a.button:has-text("取消")');
await clerk.goto(`${site}/certificates/${done.sign_serial}`);
await press(clerk, 'a.button:text-is("撤销")');
await clerk.selectOption('[name=ground]', 'holder');
await press(clerk, 'button:has-text("签名并撤销证书")');
await openKey(clerk, '#unlock', 'ra-clerk');
await press(clerk, '#unlock button.primary');
await sign(clerk);
await clerk.waitForSelector('header h1:has-text("证书撤销")');
const rev = last(clerk);
await reviewer.goto(`${site}/cases/${rev}`);
await press(reviewer, '[data-act="ra.approve"]');
await openKey(reviewer, '#unlock', 'ra-reviewer');
await press(reviewer, '#unlock button.primary');
await sign(reviewer);
await until(id, 'revoked');

// The number of a document is shown with a reason, to the eye alone; the auditor sees that it was.
await reviewer.goto(`${site}/cases/${id}`);
await reviewer.click('summary:has-text("查看完整号码")');
await reviewer.fill('[data-reveal] [name=reason]', '核对来电');
await press(reviewer, 'button:has-text("查看号码")');
await reviewer.waitForSelector(`output:has-text("${good}")`);
await goTo(auditor, '个人信息查阅');
await auditor.waitForSelector('td:has-text("查看证件号码")');
await shot(auditor, 'readings');

// Many at once: tried and withdrawn, refused, held back and cancelled.
async function tried() {
  await goTo(clerk, '批量变更');
  await clerk.fill('[name="query.batch"]', batch);
  await press(clerk, 'button:has-text("试算")');
  await clerk.waitForSelector('button:has-text("签名并提出")');
  await shot(clerk, 'bulk');
  await press(clerk, 'button:has-text("签名并提出")');
  await sign(clerk);
  await clerk.waitForSelector('button:has-text("撤回")');
  return last(clerk);
}
await tried();
await press(clerk, 'button:has-text("撤回")');
await sign(clerk);
await clerk.waitForSelector('h2:has-text("已办结")');
const second = await tried();
await reviewer.goto(`${site}/bulks/${second}`);
await reviewer.fill('form:has(button:has-text("不予通过")) textarea', '条件有误');
await press(reviewer, 'button:has-text("不予通过")');
await openKey(reviewer, '#unlock', 'ra-reviewer');
await press(reviewer, '#unlock button.primary');
await sign(reviewer);
await reviewer.waitForSelector('h2:has-text("已办结")');
const third = await tried();
await reviewer.goto(`${site}/bulks/${third}`);
await press(reviewer, 'button:has-text("暂停")');
await openKey(reviewer, '#unlock', 'ra-reviewer');
await press(reviewer, '#unlock button.primary');
await sign(reviewer);
await press(reviewer, 'button:has-text("恢复执行")');
await sign(reviewer);
await press(reviewer, 'button:has-text("暂停")');
await sign(reviewer);
await reviewer.waitForSelector('button:has-text("恢复执行")');
await reviewer.fill('[name=count]', '7');
await press(reviewer, 'button:has-text("签名并核准")');
await reviewer.waitForSelector('.why:has-text("件数")');
await reviewer.fill('[name=count]', '50');
await press(reviewer, 'button:has-text("签名并核准")');
await sign(reviewer);
await reviewer.waitForSelector('h2:has-text("已暂停")');
await press(reviewer, 'button:has-text("取消未办部分")');
await sign(reviewer);
await reviewer.waitForSelector('h2:has-text("已办结")');
assert.equal(as('ra-clerk', 'ra', 'bulk', 'show', third).counts.rejected, 50);

// The key leaves the page at a press; a page that is not there says so; the way out.
await goTo(clerk, '工作台');
await shot(clerk, 'home');
await press(clerk, '[data-unlock]');
await clerk.waitForSelector('[data-keystate]:has-text("私钥未打开")');
await press(clerk, '[data-unlock]');
await press(clerk, '#unlock [data-close]');
await clerk.goto(`${site}/cases/nothing`);
await clerk.waitForSelector('.problem:has-text("没有此案件")');
await press(clerk, 'a.button:has-text("回到首页")');
for (const b of ['新申请', '批量录入', '撤销证书', '查证书', '帮助']) {
  await goTo(clerk, '工作台');
  await press(clerk, `main a.button:has-text("${b}")`);
  await clerk.waitForSelector(`main`);
}
// The auditor takes what proves the certificates to a stranger.
await goTo(auditor, '案件');
await auditor.goto(new URL('/cases/' + id, auditor.url()).href);
const [proof] = await Promise.all([auditor.waitForEvent('download'), press(auditor, 'a.button:has-text("证据文件")')]);
await proof.saveAs(`${dir}/../evidence.zip`);
execFileSync('python3', ['-c', `import zipfile; z=zipfile.ZipFile("${dir}/../evidence.zip"); assert "manifest.json" in z.namelist(), z.namelist()`]);
await goTo(auditor, '工作台');
await press(auditor, 'main a.button:has-text("审计")');
await press(clerk, '[data-sign-out]');
await clerk.waitForSelector('h1:has-text("登录")');

// Keyboard alone: the sign-in form is reached and left by tabbing.
await clerk.keyboard.press('Tab');
assert.equal(await clerk.evaluate(() => document.activeElement.className), 'skip', 'the first stop is the way past the menu');

const count = await finish(['补办引导', '更正引导', '归档、统计与系统日志']); // self.mjs walks them
console.log(`console: ${count} buttons pressed; one application, 200 rows with 7 errors, audit and revocation`);
