import {
  isReadInTwoWays,
  parseBasic,
  parseBasicReadings,
  parsePlainBasic,
  printBasic,
  printPlainBasic,
} from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const PAIR = { clientId: '5clTR_MdVrrkgxw2', clientSecret: 'dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4-' };
const text = fc.string({ unit: 'grapheme', maxLength: 20 });
const basic = (pair: string | Uint8Array): string => `Basic ${Buffer.from(pair).toString('base64')}`;

test('Basic: a printed pair parses to the same pair, whatever its characters (RFC 6749 §2.3.1)', () => {
  fc.assert(
    fc.property(text, text, (clientId, clientSecret) => {
      assert.deepEqual(parseBasic(printBasic({ clientId, clientSecret })), { clientId, clientSecret });
    }),
  );
});

test('Basic: our own ids and secrets are the same form-encoded or not, so curl -u works (contract §3)', () => {
  assert.equal(printBasic(PAIR), basic(`${PAIR.clientId}:${PAIR.clientSecret}`));
});

test('Basic: the scheme is case-insensitive (RFC 9110 §11.1), and the secret may have a colon (RFC 7617 §2)', () => {
  for (const scheme of ['basic', 'BASIC', 'bAsIc']) {
    assert.deepEqual(parseBasic(printBasic(PAIR).replace('Basic', scheme)), PAIR);
  }
  assert.deepEqual(parseBasic(basic('a:b:c')), { clientId: 'a', clientSecret: 'b:c' });
  assert.deepEqual(parseBasic(basic(':')), { clientId: '', clientSecret: '' });
});

// Lengths that need two, one and no padding.
for (const pair of ['a:bc1', 'a:bc', 'a:b']) {
  test(`Basic: ${pair} has one spelling (RFC 4648 §3.5)`, () => {
    const good = basic(pair);
    const encoded = good.slice('Basic '.length);
    assert.ok(parseBasic(good));
    const wrong = [
      encoded,
      ` Basic ${encoded}`,
      `Basic\t${encoded}`,
      `Basic ${encoded} `,
      `Basic ${encoded}\n`,
      `Basic ${encoded.slice(0, 2)}\n${encoded.slice(2)}`,
      `Basic ${encoded}=`,
      `Basic ${encoded}====`,
      `Basic ${encoded}, ${encoded}`,
      `Basic =${encoded}`,
      `Basic${encoded}`,
      `Bearer ${encoded}`,
      'Basic ',
      'Basic ====',
    ];
    const unpadded = encoded.replace(/=+$/, '');
    if (unpadded !== encoded) wrong.push(`Basic ${unpadded}`);
    for (const header of wrong) assert.equal(parseBasic(header), undefined, JSON.stringify(header));
  });
}

test('Basic: the alphabet is base64, not base64url (RFC 7617 §2)', () => {
  const header = basic('a:\u00bf\u00bf\u00be\u00ff');
  assert.match(header, /[+/]/);
  assert.ok(parseBasic(header));
  assert.equal(parseBasic(header.replaceAll('+', '-').replaceAll('/', '_')), undefined);
});

test('Basic: unused bits must be zero', () => {
  assert.ok(parseBasic('Basic OjE='));
  assert.equal(parseBasic('Basic OjF='), undefined);
});

test('Basic: without a colon, with bytes that are not UTF-8, or with bad percent-encoding there are no credentials', () => {
  assert.ok(parseBasic(basic('a%20b:c%2B')));
  for (const pair of ['ab', 'a%2:b', 'a%zz:b', 'a:%ff', 'a:%', Uint8Array.of(0x61, 0x3a, 0xff)]) {
    assert.equal(parseBasic(basic(pair)), undefined);
  }
});

test('Basic: one or more spaces follow the scheme (RFC 9110 §11.4)', () => {
  assert.deepEqual(parseBasic(basic('a:b').replace(' ', '   ')), { clientId: 'a', clientSecret: 'b' });
});

test('Basic of RFC 7617 is split at the first colon and not decoded; a printed pair parses to itself if the id has no colon', () => {
  assert.deepEqual(parsePlainBasic(basic('a%20b:c+d:%zz')), { clientId: 'a%20b', clientSecret: 'c+d:%zz' });
  fc.assert(
    fc.property(text, text, (clientId, clientSecret) => {
      fc.pre(!clientId.includes(':'));
      assert.deepEqual(parsePlainBasic(printPlainBasic({ clientId, clientSecret })), { clientId, clientSecret });
    }),
  );
});

for (const [pair, secrets] of [
  ['id:plain-secret_43', ['plain-secret_43']],
  ['id:with/slash=and$more', ['with/slash=and$more']],
  // Base64 as it is: rather a plus than a space.
  ['id:aGVsbG8+d29ybGQ/Zm9v', ['aGVsbG8+d29ybGQ/Zm9v', 'aGVsbG8 d29ybGQ/Zm9v']],
  ['id:aGVsbG8+d29ybGQ', ['aGVsbG8+d29ybGQ', 'aGVsbG8 d29ybGQ']],
  // Form-encoded as a whole.
  ['id:aGVsbG8%2Bd29ybGQ%2F', ['aGVsbG8+d29ybGQ/', 'aGVsbG8%2Bd29ybGQ%2F']],
  // An encoder would not have left the ampersand.
  ['id:50%25&more', ['50%25&more', '50%&more']],
  ['id:100%zz', ['100%zz']],
  ['id:%ff', ['%ff']],
] as const) {
  test(`Basic: ${pair} reads as ${secrets.join(' or ')} (RFC 6749 §2.3.1, RFC 7617)`, () => {
    const readings = parseBasicReadings(basic(pair));
    assert.deepEqual(
      readings.map(({ clientSecret }) => clientSecret),
      secrets,
    );
  });
}

test('Basic: the pair that was sent is always among the readings, encoded or not', () => {
  fc.assert(
    fc.property(text, text, (clientId, clientSecret) => {
      const sent = { clientId, clientSecret };
      const holds = (header: string): boolean =>
        parseBasicReadings(header).some((read) => read.clientId === clientId && read.clientSecret === clientSecret);
      assert.ok(holds(printBasic(sent)));
      if (!clientId.includes(':')) assert.ok(holds(printPlainBasic(sent)));
      if (!isReadInTwoWays(sent) && !clientId.includes(':'))
        assert.equal(parseBasicReadings(printPlainBasic(sent)).length, 1);
    }),
  );
});

test('Basic: no text throws', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.base64String().map((encoded) => `Basic ${encoded}`),
      ),
      (header) => {
        parseBasic(header);
        parsePlainBasic(header);
        parseBasicReadings(header);
      },
    ),
  );
});
