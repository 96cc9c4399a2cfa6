import {
  BODY_BYTES_MAX,
  isRefusal,
  PARAMETERS_MAX,
  parseParameters,
  utf8,
  type Parameters,
  type Refusal,
} from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const FORM = 'application/x-www-form-urlencoded';
const JSON_TYPE = 'application/json';

const form = (body: string): Parameters | Refusal => parseParameters(FORM, utf8(body));
const json = (body: string): Parameters | Refusal => parseParameters(JSON_TYPE, utf8(body));

/** What a body says, or the reason why it says nothing. */
function read(parsed: Parameters | Refusal): unknown {
  return isRefusal(parsed) ? parsed.refused : Object.fromEntries(parsed.values);
}

function resources(parsed: Parameters | Refusal): unknown {
  return isRefusal(parsed) ? parsed.refused : parsed.resources;
}

for (const [type, body, dialect] of [
  [FORM, 'scope=a', 'form'],
  [`${FORM.toUpperCase()} ; charset=UTF-8`, 'scope=a', 'form'],
  [JSON_TYPE, '{"scope":"a"}', 'json'],
  ['Application/JSON;charset=utf-8', '{"scope":"a"}', 'json'],
  // curl -d has this label whatever it posts (contract §3).
  [FORM, '{"scope":"a"}', 'json'],
  [FORM, ' \r\n\t{"scope":"a"}', 'json'],
] as const) {
  test(`${JSON.stringify(body)} under ${type} is the ${dialect} dialect`, () => {
    const parsed = parseParameters(type, utf8(body));
    assert.ok(!isRefusal(parsed));
    assert.equal(parsed.dialect, dialect);
    assert.equal(parsed.values.get('scope'), 'a');
  });
}

for (const type of [
  undefined,
  '',
  'text/plain',
  'multipart/form-data; boundary=x',
  'application/jsonp',
  'application/json-seq',
  'json',
]) {
  test(`a body of type ${type} is refused with 415, whatever it holds (contract §3)`, () => {
    assert.equal(read(parseParameters(type, utf8('scope=a'))), 'unsupported_media_type');
    assert.equal(read(parseParameters(type, utf8('{"scope":"a"}'))), 'unsupported_media_type');
  });
}

test('a form is read like URLSearchParams, for every name and value', () => {
  const value = fc.string({ unit: 'grapheme', minLength: 1 });
  fc.assert(
    fc.property(fc.record({ client_id: value, client_secret: value, scope: value, unknown: value }), (members) => {
      const { unknown: _, ...known } = members;
      assert.deepEqual(read(form(new URLSearchParams(members).toString())), known);
      assert.deepEqual(read(json(JSON.stringify(members))), known);
    }),
  );
});

for (const [good, bad] of [
  ['%41', '%4'],
  ['%41', '%'],
  ['%4a', '%4g'],
  ['%4a', '%%4a'],
  ['%20', '% 2'],
  ['%2B', '%+2'],
  ['%c3%a9', '%c3'],
  ['%2f', '%c0%af'],
  ['%ef%bf%bd', '%ed%a0%80'],
  ['a', '%-1'],
]) {
  test(`form text: ${good} is read, ${bad} is not (RFC 6749 appendix B)`, () => {
    assert.notEqual(read(form(`scope=${good}`)), 'malformed_body');
    assert.equal(read(form(`scope=${bad}`)), 'malformed_body');
    assert.equal(read(form(`${bad}=a`)), 'malformed_body');
  });
}

for (const body of ['scope=a&scope=a', 'scope=&scope=/x', 'scope=a&sc%6fpe=b', 'x=1&x=1', 'scope&scope', '=a&=b']) {
  test(`a form with a repeated name is refused: ${body} (RFC 6749 §3.2; contract §9)`, () => {
    assert.equal(read(form(body)), 'repeated_parameter');
  });
}

for (const body of [
  '{"scope":"a","scope":"a"}',
  '{"scope":"a","\\u0073cope":"b"}',
  '{"scope":null,"scope":"a"}',
  '{"x":1,"x":2}',
  '{"x":{"y":1},"scope":"a","x":[]}',
  '{"":1,"":2}',
  '{"__proto__":1,"__proto__":2}',
  '{"resource":"a","resource":"b"}',
  '{"a\\"":1,"a\\u0022":2}',
]) {
  test(`JSON with a repeated name is refused: ${body}`, () => {
    assert.equal(read(json(body)), 'repeated_parameter');
    assert.equal(read(form(body)), 'repeated_parameter');
  });
}

test('names that only look alike, or are nested, are not repeated', () => {
  assert.deepEqual(read(json('{"scope":"scope","Scope":"b","scope ":"c"}')), { scope: 'scope' });
  assert.deepEqual(read(json('{"x":{"scope":1,"scope":2},"y":[{"scope":1},"scope"],"scope":"a"}')), { scope: 'a' });
  assert.deepEqual(read(json('{"x":"\\",\\"scope\\":\\"b","scope":"a"}')), { scope: 'a' });
});

test('JSON names are read from the text as JSON.parse reads them', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue(), { maxKeys: 8 }), (members) => {
      const { resource: _, ...rest } = members;
      assert.deepEqual(read(json(JSON.stringify({ ...rest, scope: 'a' }))), { scope: 'a' });
      const [name] = Object.keys(rest);
      if (name === undefined) return;
      const twice = `${JSON.stringify(rest).slice(0, -1)},${JSON.stringify(name)}:0}`;
      assert.equal(read(json(twice)), 'repeated_parameter');
    }),
  );
});

test('only resource may repeat: in a form as a parameter, in JSON as an array (RFC 8707 §2)', () => {
  assert.deepEqual(resources(form('resource=a&resource=&resource=b')), ['a', 'b']);
  assert.deepEqual(resources(json('{"resource":["a","","b"]}')), ['a', 'b']);
  assert.deepEqual(resources(json('{"resource":"a"}')), ['a']);
  assert.deepEqual(resources(json('{"resource":null}')), []);
  for (const wrong of ['7', '{}', '["a",7]', '["a",null]', '[["a"]]', 'true']) {
    assert.equal(resources(json(`{"resource":${wrong}}`)), 'malformed_parameter', wrong);
  }
});

test('an empty or null value counts as absent', () => {
  assert.deepEqual(read(form('')), {});
  assert.deepEqual(read(form('scope=&token&&client_id=a')), { client_id: 'a' });
  assert.deepEqual(read(json('{"scope":"","token":null,"client_id":"a"}')), { client_id: 'a' });
});

test('unknown members may hold anything, known ones must be strings', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assert.deepEqual(read(json(JSON.stringify({ unknown: value, scope: 'a' }))), { scope: 'a' });
      if (typeof value === 'string' || value === null) return;
      assert.equal(read(json(JSON.stringify({ scope: value }))), 'malformed_parameter');
    }),
  );
});

test('names such as __proto__ and constructor are names like any other', () => {
  const body = '{"__proto__":{"scope":"evil"},"constructor":1,"scope":"a"}';
  assert.deepEqual(read(json(body)), { scope: 'a' });
  assert.deepEqual(read(json('{"__proto__":{"scope":"evil"}}')), {});
  assert.equal(Reflect.get({}, 'scope'), undefined);
});

for (const body of [
  '',
  '[]',
  '"scope"',
  'null',
  '7',
  '{',
  '{"scope":"a",}',
  "{'scope':'a'}",
  '\ufeff{}',
  '{}{}',
  '{"scope":NaN}',
]) {
  test(`${JSON.stringify(body)} is not a JSON object`, () => {
    assert.equal(read(json(body)), 'malformed_body');
  });
}

test('bytes that are not UTF-8 are refused in both dialects', () => {
  for (const type of [FORM, JSON_TYPE]) {
    assert.equal(read(parseParameters(type, Uint8Array.of(0x61, 0x3d, 0xff))), 'malformed_body');
  }
});

test('a body of 16 KiB is read, one byte more is not (contract §3)', () => {
  const body = `scope=${'a'.repeat(BODY_BYTES_MAX - 6)}`;
  assert.ok(!isRefusal(form(body)));
  assert.equal(read(form(`${body}a`)), 'body_too_large');
});

test('64 parameters are read, 65 are not', () => {
  const names = Array.from({ length: PARAMETERS_MAX }, (_, at) => `p${at}`);
  const members = Object.fromEntries(names.map((name) => [name, 1]));
  assert.deepEqual(read(form(names.join('&'))), {});
  assert.deepEqual(read(json(JSON.stringify(members))), {});
  assert.equal(read(form([...names, 'more'].join('&'))), 'too_many_parameters');
  assert.equal(read(json(JSON.stringify({ ...members, more: 1 }))), 'too_many_parameters');
});

test('no bytes of any type throw: they give parameters or a refusal', () => {
  const soup = fc.string({ unit: fc.constantFrom(...Array.from('{}[]":,\\&=%+ au0scope\n')) }).map(utf8);
  const body = fc.oneof(fc.uint8Array({ maxLength: 64 }), soup);
  fc.assert(
    fc.property(fc.constantFrom(FORM, JSON_TYPE, 'text/plain'), body, (type, bytes) => {
      const parsed = parseParameters(type, new Uint8Array(bytes));
      assert.ok(isRefusal(parsed) || parsed.values instanceof Map);
    }),
    { numRuns: 1000 },
  );
});
