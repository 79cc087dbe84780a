// Finds a number whose SHA-256 (FIPS 180-4), with the token before it, begins with enough zero bits.
// Its own SHA-256, since SubtleCrypto answers each hash with a promise.
"use strict";

const primes = [];
for (let n = 2; primes.length < 64; n += 1) {
  if (primes.every((prime) => n % prime !== 0)) primes.push(n);
}
const fraction = (x) => ((x - Math.floor(x)) * 0x100000000) | 0;
const K = Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime)));
const H = Int32Array.from(primes.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));
const W = new Int32Array(64);

const rotate = (x, n) => (x >>> n) | (x << (32 - n));

const compress = (state, bytes, at) => {
  for (let i = 0; i < 16; i += 1) {
    const j = at + 4 * i;
    W[i] = (bytes[j] << 24) | (bytes[j + 1] << 16) | (bytes[j + 2] << 8) | bytes[j + 3];
  }
  for (let i = 16; i < 64; i += 1) {
    const x = W[i - 15];
    const y = W[i - 2];
    const s0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
    const s1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
    W[i] = (W[i - 16] + s0 + W[i - 7] + s1) | 0;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i += 1) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + W[i]) | 0;
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  const next = [a, b, c, d, e, f, g, h];
  for (let i = 0; i < 8; i += 1) next[i] = (next[i] + state[i]) | 0;
  return next;
};

const encoder = new TextEncoder();

onmessage = ({ data: { token, difficulty } }) => {
  const prefix = encoder.encode(`${token}.`);
  const whole = prefix.length - (prefix.length % 64);
  let start = [...H];
  for (let at = 0; at < whole; at += 64) start = compress(start, prefix, at);
  const tail = prefix.subarray(whole);
  const block = new Uint8Array(128);
  for (let number = 0; ; number += 1) {
    const digits = encoder.encode(String(number));
    const used = tail.length + digits.length;
    const length = used + 9 <= 64 ? 64 : 128;
    block.fill(0);
    block.set(tail);
    block.set(digits, tail.length);
    block[used] = 0x80;
    new DataView(block.buffer).setUint32(length - 4, 8 * (whole + used));
    let state = start;
    for (let at = 0; at < length; at += 64) state = compress(state, block, at);
    if (Math.clz32(state[0]) >= difficulty) {
      postMessage(number);
      return;
    }
  }
};
