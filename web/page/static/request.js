// Makes an SM2 key and a certificate request (PKCS#10, GM/T 0092) in the page.
// The private key leaves it only as a file under a passphrase (PKCS#8, PBES2
// with HMAC-SHA256 and SM4-CBC), which `hufu key` writes as well.
import { sm2, sm4, pbkdf2Async, sha256 } from '/static/vendor/sm.js';

const rounds = 100000;
const hex = b => Array.from(b, x => x.toString(16).padStart(2, '0')).join('');
const unhex = s => Uint8Array.from(s.match(/../g), x => parseInt(x, 16));

// tlv encodes one element over parts that are bytes.
function tlv(tag, ...parts) {
  const body = parts.flatMap(p => [...p]);
  const n = body.length;
  const size = n < 128 ? [n] : n < 256 ? [0x81, n] : [0x82, n >> 8, n & 255];
  return Uint8Array.from([tag, ...size, ...body]);
}
const seq = (...parts) => tlv(0x30, ...parts);
const int = (...bytes) => tlv(0x02, bytes);
const octets = b => tlv(0x04, b);
const bits = b => tlv(0x03, [0], b);
function oid(text) {
  const [a, b, ...rest] = text.split('.').map(Number);
  const out = [a * 40 + b];
  for (let v of rest) {
    const part = [v % 128];
    while ((v = Math.floor(v / 128)) > 0) part.unshift(128 + v % 128);
    out.push(...part);
  }
  return tlv(0x06, out);
}
const nothing = Uint8Array.from([5, 0]);

function pem(type, der) {
  const text = btoa(String.fromCharCode(...der)).match(/.{1,64}/g).join('\n');
  return `-----BEGIN ${type}-----\n${text}\n-----END ${type}-----\n`;
}

// make returns a new key's request and the key itself, sealed. The request
// states no subject: what is on record goes on.
export async function make(pass) {
  const pair = sm2.generateKeyPairHex();
  const secret = unhex(pair.privateKey.padStart(64, '0')), point = unhex(pair.publicKey);
  const sm2key = seq(oid('1.2.840.10045.2.1'), oid('1.2.156.10197.1.301'));
  const info = seq(int(0), seq(), seq(sm2key, bits(point)), tlv(0xa0));
  const signature = unhex(sm2.doSignature(info, pair.privateKey, { der: true, hash: true, publicKey: pair.publicKey }));
  const csr = seq(info, seq(oid('1.2.156.10197.1.501')), bits(signature));

  const ec = seq(int(1), octets(secret), tlv(0xa1, bits(point)));
  const plain = seq(int(0), sm2key, octets(ec));
  const salt = crypto.getRandomValues(new Uint8Array(16)), iv = crypto.getRandomValues(new Uint8Array(16));
  const key = await pbkdf2Async(sha256, new TextEncoder().encode(pass), salt, { c: rounds, dkLen: 16 });
  const text = Uint8Array.from(sm4.encrypt(plain, key, { mode: 'cbc', iv: hex(iv), output: 'array' }));
  const kdf = seq(oid('1.2.840.113549.1.5.12'), seq(octets(salt), int(rounds >> 16, rounds >> 8 & 255, rounds & 255), seq(oid('1.2.840.113549.2.9'), nothing)));
  const cipher = seq(oid('1.2.156.10197.1.104.2'), octets(iv));
  const sealed = seq(seq(oid('1.2.840.113549.1.5.13'), seq(kdf, cipher)), octets(text));
  secret.fill(0);
  plain.fill(0);
  return { csr: pem('CERTIFICATE REQUEST', csr), key: pem('ENCRYPTED PRIVATE KEY', sealed) };
}
