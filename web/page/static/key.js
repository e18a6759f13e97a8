// Reads a person's encrypted PKCS#8 key and signs with it. The key stays in
// this module's memory; a reload forgets it.
import { sm2, sm4, pbkdf2Async, sha256 } from '/static/vendor/sm.js';

let secret = null, certificate = null;

const fromBase64 = s => Uint8Array.from(atob(s.replace(/\s/g, '')), c => c.charCodeAt(0));
const toBase64 = b => btoa(String.fromCharCode(...b));
const hex = b => Array.from(b, x => x.toString(16).padStart(2, '0')).join('');
const unhex = s => Uint8Array.from(s.match(/../g), x => parseInt(x, 16));

function pem(text, type) {
  const m = text.match(new RegExp(`-----BEGIN ${type}-----([\\s\\S]+?)-----END ${type}-----`));
  if (!m) throw new Error(type === 'CERTIFICATE' ? '证书文件里没有证书' : /PRIVATE KEY/.test(text) ? '私钥文件没有用口令加密，页面不打开它；请用 hufu key --pass-file 生成' : '私钥文件里没有私钥');
  try {
    const b = fromBase64(m[1]);
    if (b[0] === 0x30) return b;
  } catch { /* said below */ }
  throw new Error(type === 'CERTIFICATE' ? '证书文件已损坏，请选择本人的 cert.pem' : '私钥文件已损坏，请选择本人的 key.pem');
}

// der splits the content of a constructed element into its children.
function der(b) {
  const list = [];
  for (let i = 0; i < b.length;) {
    const tag = b[i++];
    let n = b[i++];
    if (n & 0x80) { let k = n & 0x7f; n = 0; while (k--) n = n * 256 + b[i++]; }
    list.push({ tag, body: b.subarray(i, i + n) });
    i += n;
  }
  return list;
}

export async function load(keyText, certText, pass) {
  certificate = pem(certText, 'CERTIFICATE');
  let text, salt, iv, c;
  try {
    const [outer] = der(pem(keyText, 'ENCRYPTED PRIVATE KEY'));
    let id;
    [id, text] = der(outer.body);
    const [, params] = der(id.body);
    const [kdf, enc] = der(params.body);
    const [, kp] = der(kdf.body);
    let rounds;
    [salt, rounds] = der(kp.body);
    [, iv] = der(enc.body);
    c = rounds.body.reduce((n, x) => n * 256 + x, 0);
  } catch (e) {
    if (!(e instanceof TypeError)) throw e;
    throw new Error('私钥文件不是口令加密的 PKCS#8，或已损坏；请选择本人的 key.pem');
  }
  const key = await pbkdf2Async(sha256, new TextEncoder().encode(pass), salt.body, { c, dkLen: 16 });
  let plain;
  try {
    plain = sm4.decrypt(text.body, key, { mode: 'cbc', iv: hex(iv.body), output: 'array' });
    const [info] = der(Uint8Array.from(plain));
    const [, , octets] = der(info.body);
    const [ec] = der(octets.body);
    secret = hex(der(ec.body)[1].body);
  } catch {
    secret = null;
    throw new Error('口令不对，或私钥文件已损坏');
  }
}

export const ready = () => secret !== null;
export const forget = () => { secret = null; certificate = null; };
export const cert = () => toBase64(certificate);

// serial is the certificate's serial number as the server writes it.
export function serial() {
  const [outer] = der(certificate);
  const [tbs] = der(outer.body);
  const parts = der(tbs.body);
  return hex(parts[parts[0].tag === 0xa0 ? 1 : 0].body).replace(/^(00)+/, '').toUpperCase();
}

// claim signs a prepared statement.
export function claim(st) {
  const sig = sm2.doSignature(new TextEncoder().encode(st.text), secret, { der: true, hash: true });
  return { cert: cert(), at: st.at, nonce: st.nonce, signature: toBase64(unhex(sig)) };
}

// share opens what is sealed to this key and seals it to another: a custodian's
// part of a secret on its way to the key centre.
export function share(sealed, point) {
  const plain = sm2.doDecrypt(hex(fromBase64(sealed)), secret, 1, { asn1: true, output: 'array' });
  if (!plain.length) throw new Error('份额不能用这把私钥打开');
  return toBase64(unhex(sm2.doEncrypt(Uint8Array.from(plain), hex(fromBase64(point)), 1, { asn1: true })));
}
