/**
 * What a client signs, an assertion (RFC 7523) or a proof (RFC 9449), is refused for the same faults. Each refusal stands
 * beside the same message without the fault, which is accepted.
 */
import assert from 'node:assert/strict';
import { createHmac, createPublicKey, randomUUID, sign } from 'node:crypto';
import { test } from 'node:test';
import type { ClientAlgorithm } from '@hallpass/protocol';
import type { Answer } from '../../../../testing/server/server.ts';
import type { Signer } from '../../../../testing/client/signer.ts';
import { DEGENERATE_SIGNATURES, forge, privateKeyOf, segment, withSignature } from './forger.ts';

export interface Changes {
  readonly header?: object;
  readonly claims?: object;
}

/** One kind of message, and how a server answers it. */
export interface SignedMessage {
  /** Such as `a proof`. */
  readonly name: string;
  /** A key for each algorithm, each registered where that is needed. */
  readonly signers: Readonly<Record<ClientAlgorithm, Signer>>;
  readonly header: (by: Signer) => Readonly<Record<string, unknown>>;
  readonly claims: (by: Signer) => Readonly<Record<string, unknown>>;
  /** Sends a message in a request that is good otherwise. */
  readonly send: (jws: string) => Promise<Answer>;
  readonly assertRefused: (answer: Answer) => void;
}

/** Values of one member: those that are accepted, and those that are refused. `undefined` leaves the member out. */
export interface Values {
  readonly good?: readonly unknown[];
  readonly bad?: readonly unknown[];
}

/** The values of several groups: a name of a group says what its values have in common, or a line is full. */
export const anyOf = (...groups: readonly (readonly unknown[])[]): readonly unknown[] => groups.flat();

/** A message with some members replaced, by default signed with ES256. */
export function makeMessage(
  { signers, header, claims }: SignedMessage,
  changes: Changes = {},
  by: Signer = signers.ES256,
): string {
  return forge(by, { ...header(by), ...changes.header }, { ...claims(by), ...changes.claims });
}

export function testMembers(
  message: SignedMessage,
  part: 'header' | 'claims',
  members: Readonly<Record<string, Values>>,
  clauses: string,
): void {
  for (const [member, { good = [], bad = [] }] of Object.entries(members)) {
    test(`${message.name}: ${member} in its ${part} has ${good.length} accepted and ${bad.length} refused values (${clauses})`, async () => {
      for (const value of bad) message.assertRefused(await send(value));
      for (const value of good) await assertGood(send(value), JSON.stringify(value));
    });
    const send = (value: unknown): Promise<Answer> =>
      message.send(makeMessage(message, { [part]: { [member]: value } }));
  }
}

/** Every refusal that does not depend on what the message is for. */
export function testSignedMessage(message: SignedMessage): void {
  const { name, signers, header, claims, send, assertRefused } = message;
  const { ES256: signer, EdDSA: edwards, PS256: rsa } = signers;
  const make = (changes: Changes = {}, by: Signer = signer): string => makeMessage(message, changes, by);

  testMembers(message, 'header', HEADER_VALUES, 'RFC 7515 §4, RFC 8725 §3.1, PK-10, PK-13, DP-02');
  testMembers(message, 'claims', { jti: JTI_VALUES }, 'RFC 7519 §4.1.7, PK-08, DP-13');

  const changesOfForm = { ...FORMS, 'the claims of another one': (jws: string) => withClaimsOf(jws, make()) };
  const changesOfSignature = Object.entries(DEGENERATE_SIGNATURES).map(
    ([fault, change]) => [fault, (jws: string) => withSignature(jws, change)] as const,
  );
  for (const [fault, change] of [
    ...Object.entries(changesOfForm),
    ...changesOfSignature,
    ["another key's signature", (jws: string) => withSignature(jws, () => signatureOf(make({}, edwards)))],
    ['a signature in DER', (jws: string) => withSignature(jws, (_, input) => signDer(signer, input))],
  ] as const) {
    test(`${name} with ${fault} is refused (RFC 7515 §5.2, RFC 7518 §3.4, CVE-2022-21449, PK-14, DP-01, DP-04)`, async () => {
      const jws = make();
      assertRefused(await send(change(jws)));
      await assertGood(send(jws));
    });
  }

  test(`${name} with one flipped bit in an EdDSA or PS256 signature is refused`, async () => {
    for (const by of [edwards, rsa]) {
      const jws = make({}, by);
      assertRefused(await send(withSignature(jws, (bytes) => bytes.map((byte, at) => (at === 40 ? byte ^ 8 : byte)))));
      await assertGood(send(jws));
    }
  });

  test(`${name} with an EdDSA signature whose S is larger by the order of the group is refused (RFC 8032 §5.1.7)`, async () => {
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const jws = make({}, edwards);
    const second = withSignature(jws, (bytes) => {
      const s = BigInt(`0x${Buffer.from(bytes.subarray(32).toReversed()).toString('hex')}`) + order;
      return Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex').toReversed()]);
    });
    assertRefused(await send(second));
    await assertGood(send(jws));
  });

  test(`${name} with a critical member is refused, even if it has that member (RFC 7515 §4.1.11)`, async () => {
    for (const critical of [
      { crit: ['exp'], exp: 1 },
      { crit: ['b64'], b64: false },
    ]) {
      assertRefused(await send(make({ header: critical })));
    }
  });

  test(`${name} without a signature is refused, whatever alg says (RFC 8725 §3.2, PK-10)`, async () => {
    for (const alg of ['none', 'None', 'nOnE', 'NONE', 'ES256', 'HS256', undefined]) {
      assertRefused(await send(`${segment({ ...header(signer), alg })}.${segment(claims(signer))}.`));
    }
  });

  test(`${name} by HS256 with the public key as the secret is refused, in every spelling of that key (RFC 8725 §2.1, PK-10)`, async () => {
    for (const by of [signer, rsa, edwards]) {
      const publicKey = createPublicKey(privateKeyOf(by));
      for (const secret of [
        publicKey.export({ format: 'pem', type: 'spki' }),
        publicKey.export({ format: 'der', type: 'spki' }),
        JSON.stringify(by.jwk),
        Buffer.from(by.jwk.x ?? by.jwk.n ?? '', 'base64url'),
      ]) {
        for (const alg of ['HS256', by.algorithm]) {
          const input = `${segment({ ...header(by), alg })}.${segment(claims(by))}`;
          assertRefused(await send(`${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`));
        }
      }
    }
  });

  for (const [fault, change] of Object.entries(TEXTS)) {
    test(`${name} whose header or claims have ${fault} is refused (RFC 7515 §4, RFC 7519 §4, RFC 8725 §2.4, PK-14)`, async () => {
      const [head, body] = [JSON.stringify(header(signer)), JSON.stringify(claims(signer))];
      assertRefused(await send(forge(signer, change(head), body)));
      assertRefused(await send(forge(signer, head, change(body))));
      await assertGood(send(forge(signer, head, body)));
    });
  }

  test(`${name} of more than 4096 characters is refused (DP-16)`, async () => {
    await assertGood(send(make({ claims: { filler: 'x'.repeat(2_300) } })));
    assertRefused(await send(make({ claims: { filler: 'x'.repeat(3_000) } })));
  });
}

const HEADER_VALUES: Readonly<Record<string, Values>> = {
  alg: {
    bad: anyOf(
      [undefined, null, '', ['ES256']],
      'none None nOnE es256 ES256K ES384 EdDSA PS256 RS256 HS256'.split(' '),
    ),
  },
  crit: { bad: [[], ['exp'], ['b64']] },
  b64: { bad: [true, false] },
  // Not understood, and so ignored (RFC 7515 §4): a header brings no key.
  kid: { good: ['any'] },
  'x5t#S256': { good: ['a'] },
  jku: { good: ['https://evil.example/jwks'] },
  x5u: { good: ['https://evil.example/x5u'] },
  x5c: { good: [['MIIB']] },
  zip: { good: ['DEF'] },
  cty: { good: ['JWT'] },
  foo: { good: [{ bar: [] }] },
};

const JTI_VALUES: Values = {
  good: [randomUUID(), 'y'.repeat(256)],
  bad: ['y'.repeat(257), '', 7, ['x'], null, undefined],
};

const partsOf = (jws: string): readonly [string, string, string] => {
  const [header = '', claims = '', signature = ''] = jws.split('.');
  return [header, claims, signature];
};

const FORMS: Readonly<Record<string, (jws: string) => string>> = {
  'padding behind it': (jws) => `${jws}=`,
  'padding to the full': (jws) => `${jws}==`,
  'a padded header': (jws) => jws.replace('.', '=.'),
  'white space inside': (jws) => jws.replace('.', '. '),
  'a comma behind it': (jws) => `${jws},`,
  'quotes around it': (jws) => `"${jws}"`,
  'a scheme before it': (jws) => `DPoP ${jws}`,
  'four parts': (jws) => `${jws}.${partsOf(jws)[2]}`,
  'an empty fourth part': (jws) => `${jws}.`,
  'five parts, like an encrypted one': (jws) => `${jws}.x.y`,
  'two parts': (jws) => partsOf(jws).slice(0, 2).join('.'),
  'one part': (jws) => partsOf(jws)[0],
  'an empty payload': (jws) => `${partsOf(jws)[0]}..${partsOf(jws)[2]}`,
  // Of the 64 bytes of a signature the last character of base64url holds two bits; the others must be zero.
  'unused bits set in its last character': (jws) =>
    jws.slice(0, -1) + String.fromCharCode(jws.charCodeAt(jws.length - 1) + 1),
  'the alphabet of plain base64': (jws) => `${jws.slice(0, -4)}+/${jws.slice(-2)}`,
  'its JSON serialization': (jws) => {
    const [header, payload, signature] = partsOf(jws);
    return JSON.stringify({ protected: header, payload, signature });
  },
  'nonsense in its place': () => 'nonsense',
};

/** Faults in the JSON of a header or of claims. */
const TEXTS: Readonly<Record<string, (json: string) => string>> = {
  'a member twice': (json) => json.replace(/"(alg|iat)":/, '"$1":1,"$1":'),
  'a member twice, once escaped': (json) =>
    json.replace('"alg":', String.raw`"\u0061lg":"ES256","alg":`).replace('"iat":', String.raw`"\u0069at":1,"iat":`),
  'an array around them': (json) => `[${json}]`,
  'a byte order mark': (json) => `\ufeff${json}`,
  'a comma behind the last member': (json) => json.replace(/\}$/, ',}'),
  'something behind them': (json) => `${json} {}`,
  'no end': (json) => json.slice(0, -1),
  'NaN for a value': (json) => json.replace('{', '{"nbf":NaN,'),
  'null in their place': () => 'null',
  'a text in their place': () => '"ES256"',
  'no bytes': () => '',
};

function withClaimsOf(jws: string, other: string): string {
  return [partsOf(jws)[0], partsOf(other)[1], partsOf(jws)[2]].join('.');
}

function signatureOf(jws: string): Buffer {
  return Buffer.from(partsOf(jws)[2], 'base64url');
}

function signDer(by: Signer, input: string): Buffer {
  return sign('sha256', Buffer.from(input), privateKeyOf(by));
}

async function assertGood(sent: Promise<Answer>, what?: string): Promise<void> {
  const { status, text } = await sent;
  assert.equal(status, 200, `${what ?? ''} ${text}`);
}
