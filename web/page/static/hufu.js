// What every page's forms do. Each is told in attributes by the page that has
// it; listeners sit on the document, so swapped bodies need no setting up.
import * as key from '/static/key.js';
import * as request from '/static/request.js';

const $ = (s, in_ = document) => in_.querySelector(s);
const $$ = (s, in_ = document) => [...in_.querySelectorAll(s)];
const json = 'application/json';

class Refused extends Error { constructor(r) { super(r.text); this.report = r; } }

// base is the path below which this console lies; its body says so.
const base = () => document.body.dataset.base || '';

// call is the programming interface: JSON in, JSON out, refusals thrown.
async function call(method, path, body, type = json) {
  let resp;
  try {
    resp = await fetch(base() + path, { method, headers: body === undefined ? {} : { 'Content-Type': type }, body: type === json && body !== undefined ? JSON.stringify(body) : body });
  } catch { throw new Refused({ text: '连不上服务器', fix: '请检查网络后重试；刚才的办理是否成功请以案件当前状态为准', code: 'network' }); }
  return answer(resp.status, await resp.text());
}

function answer(status, text) {
  let data = null;
  try { data = text ? JSON.parse(text) : null; } catch { /* told below */ }
  if (status >= 400 || status === 0) throw new Refused(data && data.text ? data : { text: '系统出错', fix: '请稍后重试', code: String(status) });
  return data;
}

// go opens a page without leaving the document, so that the key stays.
function go(url) {
  const a = document.createElement('a');
  a.href = url || location.pathname + location.search;
  a.hidden = true;
  document.body.append(a);
  window.htmx.process(a);
  a.click();
}

function toast(text) {
  const d = document.createElement('div');
  d.textContent = text;
  $('#toast').append(d);
  setTimeout(() => d.remove(), 6000);
}

// problem tells a refusal where it belongs: in the form, at the field.
function problem(form, err) {
  const r = err.report || { text: err.message };
  if (r.code === 'access.sign_in') { location.reload(); return; }
  let box = $('.problem', form);
  if (!box) { box = document.createElement('div'); box.className = 'problem'; box.setAttribute('role', 'alert'); form.prepend(box); }
  clear(form);
  box.hidden = false;
  box.tabIndex = -1;
  box.replaceChildren();
  const line = (tag, text) => { const e = document.createElement(tag); e.textContent = text; box.append(e); };
  line('strong', r.text);
  if (r.clause) line('div', '依据：' + r.clause);
  if (r.fix) line('div', '处理：' + r.fix);
  const at = r.field && $$('[name]', form).find(e => !e.matches(':disabled') && (e.name === r.field || e.dataset.field === r.field || r.field.startsWith(e.name + '[')));
  if (at) {
    at.setAttribute('aria-invalid', 'true');
    const why = document.createElement('div');
    why.className = 'why';
    why.id = 'why-' + at.name;
    why.textContent = r.text;
    at.setAttribute('aria-describedby', why.id);
    at.after(why);
    at.focus();
  } else if (r.field) { line('div', '字段：' + r.field); box.focus(); } else box.focus();
  box.scrollIntoView({ block: 'nearest' });
}

function clear(form) {
  $$('.why', form).forEach(e => e.remove());
  $$('[aria-invalid]', form).forEach(e => { e.removeAttribute('aria-invalid'); e.removeAttribute('aria-describedby'); });
  const box = $('.problem', form);
  if (box) box.hidden = true;
}

// busy runs f once at a time for a form and keeps its buttons from a second press.
async function busy(form, f) {
  if (form.dataset.busy) return;
  form.dataset.busy = '1';
  document.body.classList.add('busy');
  const buttons = $$('button', form).filter(b => !b.disabled);
  buttons.forEach(b => { b.disabled = true; });
  try { clear(form); await f(); } catch (err) { problem(form, err); } finally {
    buttons.forEach(b => { b.disabled = false; });
    document.body.classList.remove('busy');
    delete form.dataset.busy;
  }
}

// fields reads a form into nested JSON: "subject.CN" becomes {subject:{CN}}.
// data-list makes lines or several inputs an array, data-number a number.
function fields(form) {
  const out = {};
  for (const e of $$('[name]', form)) {
    if (e.matches(':disabled') || e.type === 'file' || e.closest('[hidden]') && !('keep' in e.dataset)) continue;
    let v = e.value.trim();
    if ((e.type === 'checkbox' || e.type === 'radio') && !e.checked) {
      if ('list' in e.dataset) out[e.name] ??= []; // none ticked is none, not unsaid
      if (!('otherwise' in e.dataset)) continue;
      v = e.dataset.otherwise;
    }
    if (v === '' && e.type !== 'checkbox') continue;
    if ('number' in e.dataset) v = Number(v);
    if ('lines' in e.dataset) v = v.split('\n').map(x => x.trim()).filter(Boolean);
    if ('san' in e.dataset) v = v.split('\n').map(x => x.trim()).filter(Boolean).map(x => { const i = x.indexOf(':'); return i > 0 && /^[a-z]+$/.test(x.slice(0, i)) ? { kind: x.slice(0, i), value: x.slice(i + 1) } : { kind: e.dataset.san, value: x }; });
    const path = e.name.split('.');
    let o = out;
    for (const p of path.slice(0, -1)) o = o[p] ??= {};
    const last = path.at(-1);
    if ('list' in e.dataset) (o[last] ??= []).push(v); else o[last] = v;
  }
  return out;
}

let news = '';
const then = (form, done) => {
  const to = (form.dataset.then || '').replace(/\{(\w+)\}/g, (_, k) => encodeURIComponent(done?.[k] ?? done?.cases?.[0]?.[k] ?? ''));
  news = form.dataset.say; // told on the page that comes
  go(to);
};

// sign shows a statement, has it agreed to, and signs it.
async function sign(st) {
  await opened();
  const dl = $('#statement');
  dl.replaceChildren();
  const say = (name, value) => {
    const dt = document.createElement('dt'), dd = document.createElement('dd');
    dt.textContent = name;
    dd.textContent = value || '—';
    dl.append(dt, dd);
  };
  for (const l of st.lines || []) say(l.name, l.value); // what the digest stands for
  for (const line of st.text.trimEnd().split('\n').slice(1)) say(line.slice(0, line.indexOf('：')), line.slice(line.indexOf('：') + 1));
  $('#statement-text').textContent = st.text;
  const d = $('#sign');
  d.showModal();
  $('#do-sign').focus();
  const yes = await new Promise(done => {
    $('#do-sign').onclick = () => { d.close(); done(true); };
    $('#no-sign').onclick = () => { d.close(); done(false); };
    d.oncancel = () => done(false);
  });
  return yes ? key.claim(st) : null;
}

// opened waits until the person's key is in memory.
async function opened() {
  if (key.ready()) return;
  const d = $('#unlock');
  d.showModal();
  await new Promise((done, gone) => {
    d.onclose = () => key.ready() ? done() : gone(new Error('没有打开私钥，操作没有提交'));
  });
}

async function load(form) {
  const [c, k] = ['cert', 'key'].map(n => $(`[name=${n}]`, form).files[0]);
  if (!c || !k) throw new Error('请选择证书文件和私钥文件');
  await key.load(await k.text(), await c.text(), $('[name=pass]', form).value.trim());
  $('[name=pass]', form).value = '';
}

const submits = {
  // data-sign-in: prove who is here.
  async signIn(form) {
    await load(form);
    const st = await call('POST', '/api/v1/session/prepare', { cert: key.cert() });
    await call('POST', '/api/v1/session', key.claim(st));
    go(form.dataset.then || base() + '/');
  },
  // data-open-key: take the key up again after a reload.
  async openKey(form) {
    await load(form);
    const want = document.body.dataset.serial;
    if (want && key.serial() !== want) { key.forget(); throw new Error('这不是当前登录人员的证书，请选择本人的文件'); }
    keystate();
    $('#unlock').close();
  },
  // data-order: a signed act. The order's fixed part is in the attribute; named
  // fields and ticked rows (data-picked) complete it.
  async order(form) {
    const at = form.dataset.at || '/api/v1/acts';
    const order = { ...JSON.parse(form.dataset.order), ...fields(form) };
    if ('picked' in form.dataset) {
      order.ids = $$('input[data-pick]:checked').map(e => e.value);
      if (!order.ids.length) throw new Error('请先在列表中选择');
    }
    if ('share' in form.dataset) { // a custodian's own share goes with it
      await opened();
      const own = await call('GET', '/api/v1/custody');
      order.share = key.share(own.sealed, own.centre);
    }
    const st = await call('POST', at + '/prepare', order);
    const claim = await sign(st);
    if (!claim) return;
    if (st.id) order.id = st.id;
    then(form, await call('POST', at, { order, claim }));
  },
  // data-mark: the auditor's mark, or the closing of a period, signed.
  async mark(form) {
    const act = '/api/v1/audit/' + (form.dataset.mark || 'mark');
    const st = await call('POST', act + '/prepare', fields(form));
    const claim = await sign(st);
    if (claim) then(form, await call('POST', act, { last: st.last, claim }));
  },
  // data-post: an unsigned call with the form as JSON.
  async post(form) { then(form, await call('POST', form.dataset.post, fields(form))); },
  // data-reveal: an unsigned call; one word of its answer is shown in the form and
  // nowhere else.
  async reveal(form) { $('output', form).textContent = (await call('POST', form.dataset.reveal, fields(form)))[form.dataset.shows]; },
  // data-upload: one file, raw, with progress.
  async upload(form) {
    const f = $('input[type=file]', form).files[0];
    if (!f) throw new Error('请选择文件');
    const bar = $('progress', form);
    bar.hidden = false;
    try {
      then(form, await send(form.dataset.upload + '?name=' + encodeURIComponent(f.name), f, n => { if (n < 1) bar.value = n; else bar.removeAttribute('value'); }));
    } finally { bar.hidden = true; }
  },
};

// send uploads with progress, which fetch cannot tell.
const send = (path, file, progress) => new Promise((done, gone) => {
  const x = new XMLHttpRequest();
  x.open('POST', path);
  x.setRequestHeader('Content-Type', 'application/octet-stream');
  x.upload.onprogress = e => progress(e.lengthComputable ? e.loaded / e.total : 1);
  x.onerror = () => gone(new Refused({ text: '上传中断', fix: '请重新上传同一文件：已收下的不会重复', code: 'network' }));
  x.onload = () => { try { done(answer(x.status, x.responseText)); } catch (e) { gone(e); } };
  x.send(file);
});

// The number of somebody's card is never part of an address: what the page asks
// with is a key for it.
const looks = /^\d{17}[\dXx]$/;
async function byNumber(form, number) {
  const { key: k } = await call('POST', '/api/v1/cases/number', { number });
  const to = new URLSearchParams(new FormData(form));
  to.delete('q');
  to.set('number', k);
  go(`${form.getAttribute('action') || location.pathname}?${to}`);
}

document.addEventListener('submit', e => {
  const form = e.target;
  const kind = ['signIn', 'openKey', 'order', 'mark', 'post', 'reveal', 'upload'].find(k => k in form.dataset);
  const number = !kind && form.elements.q?.value.trim();
  if (!kind && !looks.test(number)) return;
  e.preventDefault();
  e.stopPropagation();
  busy(form, () => kind ? submits[kind](form) : byNumber(form, number));
}, true);

document.addEventListener('click', async e => {
  const b = e.target.closest('button, [data-copy]');
  if (!b) return;
  if ('unlock' in b.dataset) { if (key.ready()) { key.forget(); keystate(); toast('已从页面内存中移除私钥'); } else $('#unlock').showModal(); }
  if ('close' in b.dataset) b.closest('dialog').close();
  if ('copy' in b.dataset) { await navigator.clipboard.writeText(b.dataset.copy); toast('已复制'); }
  if ('print' in b.dataset) window.print();
  if ('signOut' in b.dataset) { key.forget(); await call('DELETE', '/api/v1/session').catch(() => {}); location.href = base() + '/'; }
  if ('newKey' in b.dataset) busy(b.closest('fieldset'), () => newKey(b));
  if ('drop' in b.dataset) b.closest('li').remove();
});

document.addEventListener('change', e => {
  const t = e.target;
  if ('all' in t.dataset) $$('input[data-pick]').forEach(p => { p.checked = t.checked; });
  if ('all' in t.dataset || 'pick' in t.dataset) picked();
  if ('into' in t.dataset) t.files[0]?.text().then(text => { const to = $(t.dataset.into); to.value = text.includes('-----BEGIN') ? text : ''; if (!to.value) toast('这不是 PEM 文件'); });
  if ('evidence' in t.dataset) busy(t.closest('fieldset'), () => evidence(t));
  if ('profile' in t.dataset) profile(t);
  if ('auto' in t.dataset) t.form.requestSubmit();
});

function picked() {
  const n = $$('input[data-pick]:checked').length;
  $$('[data-count]').forEach(e => { e.textContent = n; });
  $$('form[data-picked] button').forEach(b => { b.disabled = n === 0; });
}

// evidence uploads files one by one and lists their digests in the form.
async function evidence(input) {
  const ul = $(input.dataset.evidence);
  for (const f of input.files) {
    const d = await send('/api/v1/evidence?name=' + encodeURIComponent(f.name), f, () => {});
    const li = document.createElement('li');
    li.innerHTML = '<span></span> <code></code> <button type="button" class="tiny" data-drop>移除</button><input type="hidden" data-list>';
    $('input', li).name = input.dataset.name || 'identity.evidence';
    $('span', li).textContent = `${d.name}（${d.size} 字节）`;
    $('code', li).textContent = 'SM3 ' + d.digest.slice(0, 16) + '…';
    $('input', li).value = d.digest;
    if ('one' in ul.dataset) { ul.replaceChildren(); $('input', li).removeAttribute('data-list'); } // the last one counts
    ul.append(li);
  }
  input.value = '';
}

// profile shows the fields of the profile that was picked and keeps what was typed.
function profile(select) {
  const sets = $$('fieldset[data-of]');
  const was = {};
  for (const s of sets) if (!s.hidden) $$('[name]', s).forEach(e => { was[e.name] = e.value; });
  for (const s of sets) {
    s.hidden = s.disabled = s.dataset.of !== select.value;
    if (!s.hidden) $$('[name]', s).forEach(e => { if (was[e.name] && (e.tagName !== 'SELECT' || $$('option', e).some(o => o.value === was[e.name]))) e.value = was[e.name]; });
  }
}

// newKey makes a key and its request in the page: the request goes into the
// form, the key into a file under the passphrase, and nowhere else.
async function newKey(button) {
  const set = button.closest('fieldset');
  const [pass, again] = ['newpass', 'newpass2'].map(n => $(`[data-${n}]`, set));
  if (pass.value.length < 8) throw new Error('新私钥的口令至少 8 个字符');
  if (pass.value !== again.value) throw new Error('两次输入的口令不一致');
  const made = await request.make(pass.value);
  pass.value = again.value = '';
  $(button.dataset.newKey).value = made.csr;
  const a = document.createElement('a');
  a.href = URL.createObjectURL(new Blob([made.key], { type: 'application/x-pem-file' }));
  a.download = 'new-key.pem';
  a.className = 'button';
  a.textContent = '再次保存新私钥 new-key.pem';
  a.setAttribute('hx-boost', 'false');
  $('[data-made]', set).replaceChildren(a);
  a.click();
  toast('已生成新的密钥：请保管好 new-key.pem 和口令，它们没有上传');
}

function keystate() {
  const b = $('[data-unlock]');
  if (!b) return;
  b.classList.toggle('open', key.ready());
  $('[data-keystate]').textContent = key.ready() ? '私钥已打开' : '私钥未打开';
  b.title = key.ready() ? '点击移除' : '点击打开';
}

// A page has come: say so to screen readers, put the key's state on it.
function arrived() {
  $$('.scroll').forEach(e => { if (e.scrollWidth > e.clientWidth) e.tabIndex = 0; }); // arrow keys move what is wider than the screen
  keystate();
  picked();
  if (news) { toast(news); news = ''; }
  const p = $('select[data-profile]');
  if (p) profile(p);
}
document.addEventListener('htmx:afterSettle', e => { if (e.target === document.body || e.detail.target === document.body) { arrived(); $('#main')?.focus({ preventScroll: true }); } });
document.addEventListener('htmx:sendError', () => toast('连不上服务器，请检查网络后重试'));
arrived();
