import assert from 'node:assert/strict';
import { argon2Sync, createHash, pbkdf2Sync } from 'node:crypto';
import { suite, test } from 'node:test';
import { hashSync } from 'bcryptjs';
import * as fc from 'fast-check';
import {
  ARGON2_MEMORY_KIB_MAX,
  ARGON2_PARALLELISM_MAX,
  ARGON2_PASSES_MAX,
  BCRYPT_COST_MAX,
  hasForeignHash,
  parseForeignHash,
  PBKDF2_ITERATIONS_MAX,
} from '../../src/oauth/imported_secrets/foreign_hash.ts';
import { hexOf, printArgon2, printPasslib, printPbkdf2 } from '../../../../testing/client/foreign_hashes.ts';

const SECRET = 'dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4-';

async function accepts(text: string, secret: string): Promise<boolean> {
  const foreign = parseForeignHash(text);
  assert.ok(typeof foreign === 'object', `${text}: ${JSON.stringify(foreign)}`);
  return await hasForeignHash(secret, foreign);
}

/** Texts that others published, with the secrets that they are of. */
const PUBLISHED: readonly (readonly [source: string, secret: string, text: string])[] = [
  ['FIPS 180-4, SHA-256 of abc', 'abc', 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
  ["bcrypt, OpenWall's crypt_blowfish test", 'U*U', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'],
  [
    'bcrypt of 72 characters, from the same',
    '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789',
    '$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui',
  ],
  [
    'PBKDF2 with SHA-256, RFC 7914 §11',
    'passwd',
    printPbkdf2('sha256', {
      iterations: 1,
      salt: Buffer.from('salt'),
      hash: Buffer.from(
        '55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783',
        'hex',
      ),
    }),
  ],
  [
    "PBKDF2, from passlib's documentation",
    'password',
    '$pbkdf2-sha256$6400$.6UI/S.nXIk8jcbdHx3Fhg$98jZicV16ODfEsEZeYPGHU3kbrUrvUEXOPimVSQDD44',
  ],
];

suite('foreign hashes', { concurrency: 2 }, () => {
  for (const [source, secret, text] of PUBLISHED) {
    test(`a published hash is accepted with its secret, and with no other: ${source}`, async () => {
      assert.equal(await accepts(text, secret), true);
      assert.equal(await accepts(text, `${secret.slice(0, -1)}x`), false);
      assert.equal(await accepts(text, secret.slice(0, -1)), false);
    });
  }

  test('a published argon2id hash is derived alike (RFC 9106 §5 has it with a key, the reference code without)', async () => {
    // phc-winner-argon2, src/test.c: hashtest(version 19, t=2, m=2^16, p=1, "password", "somesalt").
    const text = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc';
    assert.equal(await accepts(text, 'password'), true);
    assert.equal(await accepts(text, 'passwore'), false);
  });

  const salt = Buffer.from('0123456789abcdef');
  const made: Readonly<Record<string, string>> = {
    'SHA-256': `sha256:${hexOf(SECRET)}`,
    'SHA-256 in capitals': `sha256:${hexOf(SECRET).toUpperCase()}`,
    'bcrypt 2b': hashSync(SECRET, 4),
    'bcrypt 2a': hashSync(SECRET, '$2a$04$abcdefghijklmnopqrstuu'),
    'bcrypt 2y': hashSync(SECRET, '$2y$04$abcdefghijklmnopqrstuu'),
    "Hydra's PBKDF2": printPbkdf2('sha256', {
      iterations: 1_000,
      salt,
      hash: pbkdf2Sync(SECRET, salt, 1_000, 32, 'sha256'),
    }),
    'PBKDF2 with SHA-512': printPbkdf2('sha512', {
      iterations: 1_000,
      salt,
      hash: pbkdf2Sync(SECRET, salt, 1_000, 64, 'sha512'),
    }),
    "passlib's PBKDF2": printPasslib(1_000, salt, pbkdf2Sync(SECRET, salt, 1_000, 32, 'sha256')),
    argon2id: printArgon2('argon2id', SECRET),
    argon2i: printArgon2('argon2i', SECRET),
    argon2d: printArgon2('argon2d', SECRET),
  };
  for (const [name, text] of Object.entries(made)) {
    test(`${name}: the secret has its hash; one changed, longer or with a zero byte behind it has not`, async () => {
      assert.equal(await accepts(text, SECRET), true);
      for (const other of [
        `${SECRET.slice(0, -1)}_`,
        `${SECRET}x`,
        SECRET.slice(1),
        `${SECRET}\0`,
        `${SECRET}\0${SECRET}`,
        '',
      ])
        assert.equal(await accepts(text, other), false, JSON.stringify(other));
    });
  }

  test('a secret longer than the 72 bytes that bcrypt reads has no bcrypt hash, whatever it begins with', async () => {
    const longest = 'abcdefgh'.repeat(9);
    const text = hashSync(longest, 4);
    assert.equal(await accepts(text, longest), true);
    assert.equal(await accepts(text, `${longest}x`), false);
    // 71 characters, of which one has two bytes, are 72 bytes; with one more they are 73.
    const accented = `${'a'.repeat(70)}é`;
    assert.equal(await accepts(hashSync(accented, 4), accented), true);
    assert.equal(await accepts(hashSync(accented, 4), `${accented}b`), false);
  });

  const b64 = (bytes: number): string => Buffer.alloc(bytes, 7).toString('base64').replaceAll('=', '');
  const argon = (m: number, t: number, p: number): string =>
    `$argon2id$v=19$m=${m},t=${t},p=${p}$${b64(16)}$${b64(32)}`;
  const pbkdf2 = (iterations: number): string => `$pbkdf2-sha256$i=${iterations},l=32$${b64(16)}$${b64(32)}`;
  const bcrypt = (cost: number): string =>
    `$2b$${String(cost).padStart(2, '0')}$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui`;
  for (const [name, within, beyond] of [
    ['bcrypt', bcrypt(BCRYPT_COST_MAX), bcrypt(BCRYPT_COST_MAX + 1)],
    ['PBKDF2', pbkdf2(PBKDF2_ITERATIONS_MAX), pbkdf2(PBKDF2_ITERATIONS_MAX + 1)],
    ["argon2's memory", argon(ARGON2_MEMORY_KIB_MAX, 1, 1), argon(ARGON2_MEMORY_KIB_MAX + 1, 1, 1)],
    ["argon2's passes", argon(1024, ARGON2_PASSES_MAX, 1), argon(1024, ARGON2_PASSES_MAX + 1, 1)],
    ["argon2's lanes", argon(1024, 1, ARGON2_PARALLELISM_MAX), argon(1024, 1, ARGON2_PARALLELISM_MAX + 1)],
  ] as const) {
    test(`${name} has a bound on its cost: at it a hash is read, and one beyond it is too costly`, () => {
      assert.equal(typeof parseForeignHash(within), 'object');
      assert.equal(parseForeignHash(beyond), 'too_costly');
    });
  }

  for (const [name, text, fault = 'malformed'] of [
    ['nothing', '', 'unknown_scheme'],
    ['a secret', SECRET, 'unknown_scheme'],
    ['bare hex', hexOf(SECRET), 'unknown_scheme'],
    ['$2x$, which stands for a broken bcrypt', bcrypt(5).replace('$2b', '$2x'), 'unknown_scheme'],
    ['scrypt', '$scrypt$ln=15,r=8,p=1$abc$def', 'unknown_scheme'],
    ['PBKDF2 with SHA-1', pbkdf2(1000).replace('sha256', 'sha1'), 'unknown_scheme'],
    ['63 digits', `sha256:${hexOf(SECRET).slice(1)}`],
    ['65 digits', `sha256:${hexOf(SECRET)}0`],
    ['a line break behind it', `sha256:${hexOf(SECRET)}\n`],
    ['bcrypt cut by one', bcrypt(5).slice(0, -1)],
    ['bcrypt with one more', `${bcrypt(5)}i`],
    ['bcrypt at cost 3', bcrypt(3)],
    ['bcrypt whose salt has bits to spare that are set', bcrypt(5).replace('uu5s2v', 'uv5s2v')],
    ['bcrypt whose hash has bits to spare that are set', `${bcrypt(5).slice(0, -1)}j`],
    ['PBKDF2 with another length than it says', pbkdf2(1000).replace('l=32', 'l=31')],
    ['PBKDF2 with padding', `${pbkdf2(1000)}=`],
    ['PBKDF2 in base64url', pbkdf2(1000).replace(b64(16), `-_${b64(16).slice(2)}`)],
    ['PBKDF2 with no iterations', pbkdf2(0)],
    ['PBKDF2 without a salt', pbkdf2(1000).replace(b64(16), '')],
    ['PBKDF2 with a hash of 15 bytes', `$pbkdf2-sha256$i=1000$${b64(16)}$${b64(15)}`],
    ["passlib's alphabet in Hydra's form", pbkdf2(1000).replace(b64(16), `./${b64(16).slice(2)}`)],
    ['argon2 1.0', argon(1024, 1, 1).replace('v=19', 'v=16')],
    ['argon2 without a version', argon(1024, 1, 1).replace('v=19$', '')],
    ['argon2 in another order', argon(1024, 1, 1).replace('m=1024,t=1', 't=1,m=1024')],
    ['argon2 with less memory than its lanes need', argon(15, 1, 2)],
    ['argon2 with a salt of 7 bytes', argon(1024, 1, 1).replace(b64(16), b64(7))],
    ['a text without end', `$2b$${'a'.repeat(1_000_000)}`],
  ] as const) {
    test(`what is no hash is refused, by what is wrong with it: ${name}`, () => {
      assert.equal(parseForeignHash(text), fault);
    });
  }

  test('no text makes the reader throw', () => {
    const beginnings = [
      '',
      'sha256:',
      '$2b$10$',
      '$pbkdf2-sha256$i=1,l=32$',
      '$pbkdf2-sha512$',
      '$argon2id$v=19$m=8,t=1,p=1$',
    ];
    fc.assert(
      fc.property(fc.constantFrom(...beginnings), fc.string(), (beginning, rest) => {
        parseForeignHash(beginning + rest);
      }),
    );
  });

  test('what a text is read as does not change it: SHA-256 of any secret is accepted with it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ minLength: 1 }), async (secret) => {
        fc.pre(!secret.includes('\0'));
        const hex = createHash('sha256').update(secret).digest('hex');
        assert.equal(await accepts(`sha256:${hex}`, secret), true);
      }),
    );
  });

  test('argon2 of the runtime and the text that is made of it agree', () => {
    const nonce = Buffer.from('0123456789abcdef');
    const parameters = { message: SECRET, nonce, parallelism: 1, memory: 1024, passes: 2, tagLength: 32 };
    const tag = argon2Sync('argon2id', parameters).toString('base64').replaceAll('=', '');
    assert.ok(printArgon2('argon2id', SECRET).endsWith(tag));
  });
});
