import * as key from '/key.js';

const $ = id => document.getElementById(id);
const main = $('main');
let me = null;

class Refused extends Error { constructor(r) { super(r.text); this.report = r; } }

async function call(method, path, body, raw) {
  const opt = { method, headers: {} };
  if (raw) { opt.body = raw; opt.headers['Content-Type'] = 'application/octet-stream'; }
  else if (body !== undefined) { opt.body = JSON.stringify(body); opt.headers['Content-Type'] = 'application/json'; }
  let resp;
  try { resp = await fetch(path, opt); } catch { throw new Refused({ text: '连不上服务器', fix: '请检查网络后重试', code: 'network' }); }
  const text = await resp.text();
  const data = text ? JSON.parse(text) : null;
  if (!resp.ok) throw new Refused(data && data.text ? data : { text: '系统出错', code: String(resp.status) });
  return data;
}

// h builds an element; text is always text, never markup.
function h(tag, attrs = {}, ...kids) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs)) {
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else if (v === true) e.setAttribute(k, '');
    else if (v !== false && v != null) e.setAttribute(k, v);
  }
  e.append(...kids.flat().filter(x => x != null && x !== false));
  return e;
}

function show(title, ...kids) {
  document.title = title + ' · 虎符注册系统';
  main.replaceChildren(h('h1', {}, title), ...kids.flat().filter(k => k));
  main.focus();
}

function problem(err) {
  const r = err.report || { text: err.message };
  document.querySelectorAll('[aria-invalid]').forEach(e => e.removeAttribute('aria-invalid'));
  const field = r.field && main.querySelector(`[name="${CSS.escape(r.field)}"]`);
  if (field) field.setAttribute('aria-invalid', 'true');
  const box = h('div', { class: 'error', role: 'alert', tabindex: '-1' }, h('strong', {}, r.text),
    r.field ? h('div', {}, '字段：' + r.field) : null, r.clause ? h('div', {}, '依据：' + r.clause) : null, r.fix ? h('div', {}, '处理：' + r.fix) : null);
  main.querySelector('.error')?.remove();
  main.querySelector('h1').after(box);
  box.focus();
  if (r.code === 'access.sign_in') signIn();
}

const guard = f => async e => { e?.preventDefault?.(); try { await f(e); } catch (err) { problem(err); } };

// act shows what will be signed, signs it and sends it.
async function act(order) {
  if (!key.ready()) { signIn('页面重新载入后需要再次打开私钥'); return null; }
  const st = await call('POST', '/api/v1/acts/prepare', order);
  if (!await confirmed(st.text)) return null;
  if (st.id) order.id = st.id;
  return call('POST', '/api/v1/acts', { order, claim: key.claim(st) });
}

function confirmed(text) {
  $('statement').textContent = text;
  const d = $('sign');
  d.showModal();
  return new Promise(done => {
    const end = v => { d.close(); done(v); };
    $('do-sign').onclick = () => end(true);
    $('no-sign').onclick = () => end(false);
    d.oncancel = () => done(false);
  });
}

const field = (label, name, attrs = {}, tag = 'input', ...kids) => [h('label', { for: name }, label), h(tag, { id: name, name, ...attrs }, ...kids)];
const value = name => main.querySelector(`[name="${CSS.escape(name)}"]`).value.trim();

function signIn(why) {
  $('nav').hidden = true; $('out').hidden = true;
  show('登录', why ? h('p', {}, why) : h('p', {}, '选择本人的证书和加密私钥文件（people/姓名/ 下的 cert.pem 与 key.pem），私钥只在本页面内使用，不会上传。'),
    h('form', { onsubmit: guard(async () => {
      const [c, k] = ['cert', 'key'].map(n => main.querySelector(`[name=${n}]`).files[0]);
      if (!c || !k) throw new Error('请选择两个文件');
      await key.load(await k.text(), await c.text(), value('pass'));
      const st = await call('POST', '/api/v1/session/prepare', { cert: key.cert() });
      me = await call('POST', '/api/v1/session', key.claim(st));
      signedIn();
      location.hash = '#/cases';
      route();
    }) }, field('证书文件', 'cert', { type: 'file', accept: '.pem' }), field('私钥文件', 'key', { type: 'file', accept: '.pem' }),
    field('私钥口令', 'pass', { type: 'password', autocomplete: 'off' }), h('div', { class: 'row' }, h('button', { class: 'primary' }, '登录'))));
}

function signedIn() {
  $('nav').hidden = false; $('out').hidden = false;
  $('who').textContent = `${me.name}（${me.titles.join('、')}）`;
}

const time = s => new Date(s).toLocaleString('zh-CN');

async function cases(q) {
  const page = await call('GET', '/api/v1/cases?' + new URLSearchParams([...q].filter(([, v]) => v)));
  const states = { '': '全部', drafted: '草稿', submitted: '待审核', approved: '待签发', issued: '待制证', delivered: '已交付', rejected: '已拒绝', revoked: '已撤销', done: '已办结' };
  const picked = new Set();
  show('案件', h('form', { role: 'search', onsubmit: e => { e.preventDefault(); location.hash = '#/cases?' + new URLSearchParams({ q: value('q'), state: value('state') }); } },
    field('姓名、编号、序列号或批次', 'q', { value: q.get('q') || '' }),
    field('状态', 'state', {}, 'select', Object.entries(states).map(([k, v]) => h('option', { value: k, selected: k === (q.get('state') || '') }, v))),
    h('div', { class: 'row' }, h('button', {}, '查询'))),
    page.cases.length === 0 ? h('p', { class: 'empty' }, '没有符合条件的案件') : h('table', {}, h('thead', {}, h('tr', {}, ['', '编号', '种类', '状态', '名称', '起草人', '时间'].map(t => h('th', { scope: 'col' }, t)))),
      h('tbody', {}, page.cases.map(c => h('tr', {}, h('td', {}, c.state === 'submitted' ? h('input', { type: 'checkbox', 'aria-label': '选择 ' + c.id, onchange: e => e.target.checked ? picked.add(c.id) : picked.delete(c.id) }) : ''),
        h('td', {}, h('a', { href: '#/case/' + c.id }, c.id)), h('td', {}, c.kind_title), h('td', {}, c.state_title), h('td', {}, c.title), h('td', {}, c.created_by), h('td', {}, time(c.updated_at)))))),
    h('div', { class: 'row' }, me.roles.includes('ra.reviewer') && page.cases.some(c => c.state === 'submitted') ? h('button', { class: 'primary', onclick: guard(async () => {
      if (!picked.size) throw new Error('请先选择要核准的案件');
      if (await act({ act: 'ra.approve', ids: [...picked] })) await route();
    }) }, '核准所选') : null,
    page.next ? h('button', { onclick: () => { q.set('after', page.next); location.hash = '#/cases?' + q; } }, '下一页') : null));
}

const words = {
  'resident-id': '居民身份证', passport: '护照', 'military-id': '军官证', 'credit-code': '统一社会信用代码', 'organisation-code': '组织机构代码', 'device-number': '设备编号',
  'in-person': '当面核验原件', entrusted: '核验委托书与经办人原件', 'remote-video': '远程视频核验', 'official-data': '权威数据源比对', none: '未查验',
  conditions: '使用条件', liability: '法律责任', 'holder-data': '持有人信息的权限和责任', scope: '责任范围',
  keyCompromise: '密钥失控', affiliationChanged: '隶属变更', superseded: '被替代', cessationOfOperation: '停止使用', privilegeWithdrawn: '取消资格', unspecified: '未说明',
};
const say = w => words[w] || w;
const actions = { 'ra.submit': '提交审核', 'ra.approve': '审核通过', 'ra.return': '退回修改', 'ra.reject': '不予通过', 'ra.produce': '制证交付' };

async function show1(id) {
  const c = await call('GET', '/api/v1/cases/' + encodeURIComponent(id));
  const a = c.application, rows = [['状态', c.state_title], ['种类', c.kind_title], ['名称', c.title], ['证书模板', c.profile]];
  if (a) rows.push(['主体', Object.entries(a.subject).map(([k, v]) => `${k}=${v}`).join('，')], ['证件', `${say(a.identity.kind)} ${a.identity.masked}`],
    ['身份查验', `${say(a.check.method)}，${a.check.by}，${time(a.check.at)}`], ['已告知', a.notices.map(say).join('、')], ['服务协议', a.agreement], ['业务规则', a.cps], ['有效期', a.days + ' 天']);
  if (c.revocation) rows.push(['撤销证书', c.revocation.serial], ['原因', say(c.revocation.reason)]);
  if (c.sign_serial) rows.push(['签名证书', c.sign_serial]);
  if (c.enc_serial) rows.push(['加密证书', c.enc_serial]);
  show(`${c.kind_title} ${c.id}`, c.trouble ? h('div', { class: 'error' }, 'CA 拒绝：' + c.trouble.text) : null,
    h('dl', {}, rows.flatMap(([k, v]) => [h('dt', {}, k), h('dd', {}, String(v))])),
    c.may.length ? h('form', { onsubmit: e => e.preventDefault() }, field('意见', 'note', { maxlength: 500 }),
      h('div', { class: 'row' }, c.may.filter(m => actions[m]).map(m => h('button', { type: 'button', 'data-act': m, class: m === 'ra.approve' || m === 'ra.submit' || m === 'ra.produce' ? 'primary' : null,
        onclick: guard(async () => { if (await act({ act: m, ids: [c.id], note: value('note') })) await show1(id); }) }, actions[m])))) : null,
    c.state === 'delivered' && me.roles.includes('ra.producer') ? h('div', { class: 'row' }, h('button', { onclick: guard(() => download(c.id)) }, '下载交付包')) : null,
    h('h2', {}, '经过'), c.events.length ? h('ol', { class: 'time' }, c.events.map(e => h('li', {}, h('strong', {}, e.title), ` ${e.name}（${e.who}） ${time(e.at)} `, e.note || '',
      e.statement ? h('details', {}, h('summary', {}, '签名的声明'), h('pre', {}, e.statement + '\n签名：' + e.signature)) : null))) : h('p', { class: 'empty' }, '还没有办理'));
}

async function download(id) {
  const p = await call('GET', `/api/v1/cases/${id}/package`);
  for (const [name, b64] of Object.entries(p)) {
    if (!b64 || name.startsWith('$')) continue;
    const url = URL.createObjectURL(new Blob([Uint8Array.from(atob(b64), c => c.charCodeAt(0))]));
    h('a', { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
}

async function create() {
  const list = await call('GET', '/api/v1/profiles');
  show('新申请', h('form', { onsubmit: guard(async () => {
    const subject = {};
    for (const k of ['C', 'ST', 'L', 'O', 'OU', 'CN']) if (value('subject.' + k)) subject[k] = value('subject.' + k);
    const d = await call('POST', '/api/v1/drafts', { profile: value('profile'), subject, identity: { kind: value('identity.kind'), number: value('identity.number'), method: value('identity.method') }, csr: value('csr') });
    location.hash = '#/case/' + d.id;
  }) }, field('证书模板', 'profile', {}, 'select', list.map(p => h('option', { value: p.name, selected: p.name === 'person-dual' }, p.title))),
  field('国家 C', 'subject.C', { value: 'CN' }), field('省级行政区 ST', 'subject.ST'), field('市县 L', 'subject.L'), field('单位 O', 'subject.O'), field('部门 OU', 'subject.OU'), field('姓名或名称 CN', 'subject.CN', { required: true }),
  field('证件类型', 'identity.kind', {}, 'select', [['resident-id', '居民身份证'], ['passport', '护照'], ['military-id', '军官证'], ['credit-code', '统一社会信用代码'], ['organisation-code', '组织机构代码'], ['device-number', '设备编号']].map(([k, v]) => h('option', { value: k }, v))),
  field('证件号码', 'identity.number', { autocomplete: 'off' }),
  field('身份查验方式', 'identity.method', {}, 'select', [['in-person', '当面核验原件'], ['entrusted', '核验委托书与经办人原件'], ['remote-video', '远程视频核验'], ['official-data', '权威数据源比对'], ['none', '未查验']].map(([k, v]) => h('option', { value: k }, v))),
  field('证书请求（PEM）', 'csr', {}, 'textarea'), h('p', {}, '保存草稿即记录：已告知四项事项（第二十一条），申请人接受服务协议。提交审核时由您签名。'),
  h('div', { class: 'row' }, h('button', { class: 'primary' }, '保存草稿'))));
}

function sheet() {
  const out = h('div', { id: 'rows' });
  show('批量录入', h('p', {}, 'XLSX 或 CSV，表头 profile,C,ST,L,O,OU,CN,identity_kind,identity_number,csr。同一文件重复上传得到同一批次。'),
    h('form', { onsubmit: guard(async () => {
      const f = main.querySelector('[name=file]').files[0];
      if (!f) throw new Error('请选择文件');
      out.replaceChildren(h('progress', { 'aria-label': '正在上传' }));
      let b;
      try { b = await call('POST', '/api/v1/sheets?name=' + encodeURIComponent(f.name), undefined, f); } catch (e) { out.replaceChildren(); throw e; }
      await batch(out, b);
    }) }, field('文件', 'file', { type: 'file', accept: '.xlsx,.csv' }), h('div', { class: 'row' }, h('button', { class: 'primary' }, '上传并检查'))), out);
}

async function batch(out, b) {
  const good = b.rows.filter(r => r.id), bad = b.rows.filter(r => r.refusal);
  const { waiting } = await call('GET', '/api/v1/batches/' + b.id);
  out.replaceChildren(h('p', { class: 'ok', id: 'summary' }, `批次 ${b.id}：收下 ${good.length} 行，退回 ${bad.length} 行，待提交 ${(waiting || []).length} 件`),
    waiting && waiting.length ? h('div', { class: 'row' }, h('button', { class: 'primary', id: 'submit-batch', onclick: guard(async () => {
      if (await act({ act: 'ra.submit', ids: waiting })) await batch(out, b);
    }) }, `签名并提交 ${waiting.length} 件`)) : null,
    bad.length ? h('table', {}, h('thead', {}, h('tr', {}, ['行', '字段', '说明', '处理'].map(t => h('th', { scope: 'col' }, t)))), h('tbody', {}, bad.map(r => h('tr', { class: 'bad' }, h('td', {}, String(r.row)), h('td', {}, r.refusal.field), h('td', {}, r.refusal.text), h('td', {}, r.refusal.fix))))) : null);
}

function revoke() {
  show('撤销证书', h('form', { onsubmit: guard(async () => {
    const done = await act({ act: 'ra.revoke', serial: value('serial'), reason: value('reason'), note: value('note') });
    if (done) location.hash = '#/case/' + done.cases[0].id;
  }) }, field('证书序列号（十六进制）', 'serial', { required: true }),
  field('原因', 'reason', {}, 'select', [['keyCompromise', '密钥失控'], ['affiliationChanged', '隶属变更'], ['superseded', '被替代'], ['cessationOfOperation', '停止使用'], ['privilegeWithdrawn', '取消资格'], ['unspecified', '未说明']].map(([k, v]) => h('option', { value: k }, v))),
  field('说明', 'note'), h('p', {}, '撤销一张即撤销一对；须由另一人核准后执行。'), h('div', { class: 'row' }, h('button', { class: 'primary' }, '签名并申请'))));
}

async function status() {
  const s = await call('GET', '/api/v1/status'), n = await call('GET', '/api/v1/counts');
  show('账本与状态', h('dl', {}, [['账本', s.origin], ['条数', s.size], ['根（SM3）', s.root], ['检查点时间', s.at && time(s.at)]].flatMap(([k, v]) => [h('dt', {}, k), h('dd', {}, String(v ?? '尚无'))])),
    h('h2', {}, '检查点'), h('pre', {}, s.note || '尚无'), h('h2', {}, '案件'), h('dl', {}, Object.entries(n.counts).flatMap(([k, v]) => Object.entries(v).flatMap(([st, c]) => [h('dt', {}, `${k} ${st}`), h('dd', {}, String(c))]))));
}

async function audit() {
  const list = await call('GET', '/api/v1/audit?limit=100');
  show('审计', h('div', { class: 'row' }, h('button', { class: 'primary', onclick: guard(async () => {
    if (!key.ready()) return signIn('需要再次打开私钥');
    const st = await call('POST', '/api/v1/audit/mark/prepare', {});
    if (!await confirmed(st.text)) return;
    await call('POST', '/api/v1/audit/mark', { last: st.last, claim: key.claim(st) });
    await audit();
  }) }, '标记已审计'), h('a', { href: '/api/v1/audit/export', download: 'audit.zip' }, '导出')),
  h('table', {}, h('thead', {}, h('tr', {}, ['序号', '时间', '人员', '操作', '对象', '结果', ''].map(t => h('th', { scope: 'col' }, t)))), h('tbody', {}, list.map(l => h('tr', {}, [l.index, time(l.end), l.who, l.item, l.object, l.result, l.marked ? '已审计' : '未审计'].map(v => h('td', {}, String(v))))))));
}

async function route() {
  if (!me) return signIn();
  const [path, query] = location.hash.slice(1).split('?');
  document.querySelectorAll('nav a').forEach(a => a.hash.slice(1) === path ? a.setAttribute('aria-current', 'page') : a.removeAttribute('aria-current'));
  const [, where, id] = path.split('/');
  try {
    if (where === 'case') await show1(id);
    else await ({ new: create, sheet, revoke, status, audit }[where] || (() => cases(new URLSearchParams(query))))();
  } catch (e) { if (!main.querySelector('h1')) show('出错'); problem(e); }
}

window.addEventListener('hashchange', route);
$('out').onclick = guard(async () => { await call('DELETE', '/api/v1/session'); key.forget(); me = null; $('who').textContent = ''; signIn(); });
call('GET', '/api/v1/me').then(m => { me = m; signedIn(); route(); }, () => signIn());
