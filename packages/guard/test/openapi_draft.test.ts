import { draftPolicy, inspectPolicy, printOverlay, readPolicy, type Draft } from '@hallpass/guard/openapi';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse, stringify } from 'yaml';
import { api, asks, meets, openFolder, type Members } from './openapi_harness.ts';

const files = openFolder();
const fileOf = (document: unknown): string => files.fileOf(stringify(document));

/** The proposals for a document, as `GET /a: scope`, with a question mark when it is unsure of it. */
function linesOf({ proposals }: Draft): readonly string[] {
  return proposals.map(({ operation, scope, sure }) => `${operation.route}: ${scope}${sure ? '' : '?'}`);
}

const draft = async (document: unknown): Promise<readonly string[]> => linesOf(await draftPolicy(fileOf(document)));

const says = (description: string): Members => ({ description });
const needs = (scope: string): Members => says(`To use this endpoint, you'll need to specify the \`${scope}\` scope.`);

const one = async (path: string, description: string, method = 'get'): Promise<string> => {
  const [line = ''] = await draft(api({ [path]: { [method]: says(description) } }));
  return line.replace(/^.*?: /, '');
};

test('a scope that the description asks for, of parameters of the path and a verb of the method, is sure', async () => {
  const path = '/accounts/{accountID}/transfers';
  const scope = '/accounts/{accountID}/transfers.read';
  for (const description of [
    `To use this endpoint, you need to specify the \`${scope}\` scope.`,
    `Lists transfers.<br><br> You must have the ${scope} scope. See https://docs.example.com/guides/scopes.html for more.`,
    `Lists transfers. They are not sorted.\n\nScope: ${scope}.`,
    `Needs the scope \`${scope}\`.\nDo not poll it.`,
  ]) {
    assert.equal(await one(path, description), scope, description);
  }
  assert.equal(
    await one(path, 'Scope `/accounts/{accountID}/transfers.write`', 'post'),
    scope.replace('read', 'write'),
  );
  assert.equal(await one('/cards', 'Scope `/cards.read-secure`'), '/cards.read-secure');
  // A matter of style alone.
  assert.equal(await one(path, 'Scope `/accounts/{account-id}/transfers.read`'), scope);
  assert.equal(await one(path, 'Scope `/accounts/{accountId}/transfers.read`'), scope);
});

test('what may be meant otherwise is proposed, and unsure', async () => {
  const path = '/accounts/{accountID}/transfers';
  const unsure: readonly (readonly [string, string])[] = [
    // Several of them.
    ['Scope `/a.read` or `/b.read`.', '/a.read?'],
    ['Scope `/a.write`. For lists, scope `/b.read`.', '/b.read?'],
    // A sentence that turns it around.
    ["You don't need the `/a.read` scope.", '/a.read?'],
    ['The `/a.read` scope is no longer enough.', '/a.read?'],
    ["You don't need `/a.read`. It once was the scope `/a.read`.", '/a.read?'],
    ['Works without the scope `/a.read`.', '/a.read?'],
    // No talk of scopes.
    ['See `/a.read` for more.', '/a.read?'],
    // A reading method that is said to write.
    ['Scope `/a.write`.', '/a.write?'],
    // Another's account, or perhaps the same by another name.
    ['Scope `/accounts/{yourAccountID}/transfers.read`.', '/accounts/{accountID}/transfers.read?'],
    ['Scope `/accounts/{id}/transfers.read`.', '/accounts/{accountID}/transfers.read?'],
    ['Scope `/{account_id}/{account-id}.read`.', '/accounts/{accountID}/transfers.read?'],
    ['Scope `/users/{userID}/transfers.read`.', '/transfers.read?'],
    ['Scope `/{userID}.read`.', '/accounts/{accountID}/transfers.read?'],
  ];
  for (const [description, scope] of unsure) assert.equal(await one(path, description), scope, description);
  assert.equal(await one(path, 'Scope `/a.read`.', 'post'), '/a.read?');
  assert.equal(await one('/transfers', 'Scope `/accounts/{yourAccountID}/transfers.read`.'), '/transfers.read?');
  const { proposals } = await draftPolicy(
    fileOf(api({ '/transfers': { get: needs('/accounts/{x}/transfers.read') } })),
  );
  assert.match(proposals[0]?.reason ?? '', /asks for \/accounts\/\{x\}\/transfers\.read, and the path has no \{x\}/);
});

test('a text that only looks like a scope is none', async () => {
  for (const description of [
    'See https://docs.example.com/guides/scopes.html about scopes.',
    'Scopes are in [the guide](https://docs.example.com/guides/x.read).',
    'The scope is a.read, or docs/a.read.',
    'Scopes: `/a.Read`, `/../a.read`, `/a//b.read`, `/a/{b.read`.',
    '',
    `Scope /${'.'.repeat(200_000)}x`,
  ]) {
    assert.equal(await one('/files', description), '/files.read?', description);
  }
  assert.deepEqual(await draft(api({ '/a': { get: { description: 7, summary: ['/b.read scope'], tags: 7 } } })), [
    'GET /a: /a.read?',
  ]);
});

test('two methods of a path that name different things are both unsure: one may be copied', async () => {
  assert.deepEqual(
    await draft(
      api({
        '/a': { get: needs('/a.read'), put: needs('/b.write'), post: says('') },
        '/c': { get: needs('/c.read'), put: needs('/c.write') },
      }),
    ),
    ['GET /a: /a.read?', 'PUT /a: /b.write?', 'POST /a: /a.write?', 'GET /c: /c.read', 'PUT /c: /c.write'],
  );
});

test('an operation that says nothing is proposed what its neighbours do, and is unsure', async () => {
  const document = api(
    {
      '/accounts/{id}/cards': { get: asks('/accounts/{id}/plastic.read'), post: {}, delete: {} },
      '/accounts/{id}/cards/{card}/pin': { put: {} },
      '/accounts/{id}/files/{file}': { get: {}, patch: {} },
      '/wallets': { post: needs('/wallets.change') },
      '/wallets/{id}': { post: {}, get: {} },
      '/stats/{year}': { get: { tags: ['Stats', 'Other'] } },
      '/': { get: {} },
      '/{id}': { get: {} },
    },
    { tags: [{ name: 'Stats', description: 'You need the `/statistics.read` scope.' }, { name: 'Other' }, 7] },
  );
  assert.deepEqual(await draft(document), [
    'POST /accounts/{id}/cards: /accounts/{id}/plastic.change?',
    'DELETE /accounts/{id}/cards: /accounts/{id}/plastic.write?',
    'PUT /accounts/{id}/cards/{card}/pin: /accounts/{id}/plastic.write?',
    'GET /accounts/{id}/files/{file}: /accounts/{id}/files.read?',
    'PATCH /accounts/{id}/files/{file}: /accounts/{id}/files.write?',
    'POST /wallets: /wallets.change',
    'POST /wallets/{id}: /wallets.change?',
    'GET /wallets/{id}: /wallets.read?',
    'GET /stats/{year}: /statistics.read?',
    'GET /: /api.read?',
    'GET /{id}: /api.read?',
  ]);
});

test('operations that have a scope, or ask for nothing, or are marked already, are left alone', async () => {
  const settled = api({
    '/a': { get: asks('/a.read') },
    '/b': { get: { security: [] } },
    '/c': { get: { 'x-hallpass-unsure': 'Which?' } },
    '/d': { get: asks('d') },
  });
  const drafted = await draftPolicy(fileOf(settled));
  assert.deepEqual([drafted.proposals, drafted.overlay, drafted.faults], [[], undefined, []]);
});

const LEDGER = api(
  {
    '/accounts/{accountID}': { get: needs('/accounts/{accountID}.read'), put: needs('/accounts/{accountID}.write') },
    '/accounts/{accountID}/transfers': { $ref: '#/components/pathItems/Transfers' },
    "/it's": { get: { ...needs('/its.read'), security: [{ Basic: [] }] } },
    '/transfers': { post: says('Moves money.') },
    '/token': { post: says('Gives a token.') },
  },
  {
    info: { title: 'Ledger', version: '1' },
    security: [{ Basic: [] }],
    components: {
      schemas: { Money: {} },
      securitySchemes: { Basic: { type: 'http', scheme: 'basic' } },
      pathItems: { Transfers: { get: needs('/accounts/{accountID}/transfers.read') } },
    },
  },
);

test('the overlay says it all: the check refuses what is unsure, and takes what was settled', async () => {
  const file = fileOf(LEDGER);
  const { overlay, proposals } = await draftPolicy(file, { tokenURL: 'https://auth.example.com/oauth2/token' });
  assert.ok(overlay !== undefined);
  assert.equal(proposals.filter(({ sure }) => sure).length, 4);
  const text = printOverlay(overlay);
  assert.deepEqual(parse(text), overlay);
  assert.equal(overlay.overlay, '1.0.0');
  assert.match(text, /title: Scopes of Ledger/);
  assert.match(text, /target: \$\.components\.pathItems\.Transfers\.get/);
  assert.match(text, /tokenUrl: https:\/\/auth\.example\.com\/oauth2\/token/);

  const drafted = files.fileOf(text);
  const before = await inspectPolicy(file, { overlay: drafted });
  assert.deepEqual(
    before.faults.map(({ kind, operation }) => `${kind} ${operation ?? ''}`),
    ['unsure POST /transfers', 'unsure POST /token'],
  );
  await assert.rejects(readPolicy(file, { overlay: drafted, unmapped: 'close' }), { name: 'PolicyError' });

  const settled = files.fileOf(
    text.replaceAll(/\n +x-hallpass-unsure: .*/g, '').replace(/- Hallpass:\n +- \/token\.write/, '[]'),
  );
  const policy = await readPolicy(file, { overlay: settled });
  assert.equal(meets(policy, 'GET', '/accounts/a1'), '/accounts/a1.read');
  assert.equal(meets(policy, 'GET', '/accounts/a1/transfers'), '/accounts/a1/transfers.read');
  assert.equal(meets(policy, 'GET', "/it's"), '/its.read');
  assert.equal(meets(policy, 'POST', '/transfers'), '/transfers.write');
  assert.equal(meets(policy, 'POST', '/token'), 'route_not_allowed');
  // And then there is nothing more to draft.
  assert.deepEqual((await inspectPolicy(file, { overlay: settled })).table.open, ['POST /token']);
});

test('the scheme is put where there is room, or the one that is there gets the scopes that it lacks', async () => {
  const actionsOf = async (components: unknown): Promise<readonly unknown[]> => {
    const { components: _, ...rest } = api({ '/a': { get: needs('/a.read') } });
    const document = components === undefined ? rest : { ...rest, components };
    const file = fileOf(document);
    const { overlay } = await draftPolicy(file);
    const drafted = fileOf(overlay);
    assert.deepEqual((await inspectPolicy(file, { overlay: drafted })).faults, []);
    return overlay?.actions.map(({ target, update }) => [target, Object.keys(update ?? {})]) ?? [];
  };
  const operation = ["$.paths['/a'].get", ['security']];
  assert.deepEqual(await actionsOf(undefined), [['$', ['components']], operation]);
  assert.deepEqual(await actionsOf({ schemas: {} }), [['$.components', ['securitySchemes']], operation]);
  assert.deepEqual(await actionsOf({ securitySchemes: {} }), [
    ['$.components.securitySchemes', ['Hallpass']],
    operation,
  ]);
  assert.deepEqual(await actionsOf({ securitySchemes: { Hallpass: { type: 'http', scheme: 'basic' } } }), [
    ['$.components.securitySchemes', ['Hallpass2']],
    operation,
  ]);
  const scheme = (scopes: Members): Members => ({
    securitySchemes: { 'my scheme': { type: 'oauth2', flows: { clientCredentials: { tokenUrl: '/t', scopes } } } },
  });
  const target = "$.components.securitySchemes['my scheme'].flows.clientCredentials.scopes";
  assert.deepEqual(await actionsOf(scheme({})), [[target, ['/a.read']], operation]);
  assert.deepEqual(await actionsOf(scheme({ '/a.read': '' })), [operation]);
});

test('a security that asks for no scope is taken away before the new one comes: lists that meet are joined', async () => {
  const file = fileOf(api({ '/a': { get: { ...needs('/a.read'), security: [{ Hallpass: [] }] } } }));
  const { overlay } = await draftPolicy(file);
  const [, removal] = overlay?.actions ?? [];
  assert.deepEqual(removal, { target: "$.paths['/a'].get.security", remove: true });
  assert.equal(meets(await readPolicy(file, { overlay: fileOf(overlay) }), 'GET', '/a'), '/a.read');
});

test('where requests begin is of no interest to a draft', async () => {
  const document = api({ '/a': { get: needs('/a.read') } }, { servers: [{ url: 'v1' }] });
  const { proposals, faults } = await draftPolicy(fileOf(document));
  assert.deepEqual([proposals[0]?.operation.route, faults], ['GET /a', []]);
});

test('a path item that two paths share is written once', async () => {
  const shared = api(
    { '/a': { $ref: '#/x-item' }, '/b': { $ref: '#/x-item' } },
    { 'x-item': { get: needs('/shared.read') } },
  );
  assert.deepEqual(await draft(shared), ['GET /a: /shared.read']);
});

test('a file that is no OpenAPI document, or has faults of its own, says so', async () => {
  for (const document of [{ 'GET /a': '/a.read' }, 'text', [], { openapi: '2.0' }]) {
    const { overlay, faults } = await draftPolicy(fileOf(document));
    assert.equal(overlay, undefined);
    assert.equal(faults.length, 1);
  }
  const half = await draftPolicy(fileOf(api({ '/a/': { get: {} }, '/b': { get: needs('/b.read') } })));
  assert.deepEqual(linesOf(half), ['GET /b: /b.read']);
  assert.deepEqual(
    half.faults.map(({ kind }) => kind),
    ['bad_path'],
  );
});

test('the whole overlay of a document that has nothing: what each operation is to ask for, and why', async () => {
  const { overlay } = await draftPolicy(
    fileOf({ openapi: '3.1.0', paths: { '/b': { get: needs('/b.read') }, '/a': { get: {}, put: needs('/a.write') } } }),
  );
  assert.deepEqual(overlay, {
    overlay: '1.0.0',
    info: { title: 'Scopes of the API', version: '1.0.0' },
    actions: [
      {
        target: '$',
        update: {
          components: {
            securitySchemes: {
              Hallpass: {
                type: 'oauth2',
                flows: {
                  clientCredentials: {
                    tokenUrl: 'http://localhost:8080/oauth2/token',
                    scopes: { '/a.read': 'GET /a', '/a.write': 'PUT /a', '/b.read': 'GET /b' },
                  },
                },
              },
            },
          },
        },
      },
      {
        target: "$.paths['/b'].get",
        description: 'GET /b: named in its description',
        update: { security: [{ Hallpass: ['/b.read'] }] },
      },
      {
        target: "$.paths['/a'].get",
        description: 'GET /a: unsure',
        update: {
          security: [{ Hallpass: ['/a.read'] }],
          'x-hallpass-unsure': 'Its description names no scope. Proposed: as the other methods of this path.',
        },
      },
      {
        target: "$.paths['/a'].put",
        description: 'PUT /a: named in its description',
        update: { security: [{ Hallpass: ['/a.write'] }] },
      },
    ],
  });
});

test('a scope of several operations is described by the first, and in an order that no edit changes', async () => {
  const paths = Object.fromEntries(
    ['/z', '/y', '/x', '/w', '/v'].map((path, index) => [path, { get: needs(index < 3 ? '/m.read' : `${path}.read`) }]),
  );
  const { overlay } = await draftPolicy(fileOf(api(paths)));
  const [{ update } = { update: {} }] = overlay?.actions ?? [];
  assert.deepEqual(Object.entries(update ?? {}), [
    ['/m.read', 'GET /z, and 2 more'],
    ['/v.read', 'GET /v'],
    ['/w.read', 'GET /w'],
  ]);
});

test('a scheme that is not for client credentials is passed over, and its name is taken', async () => {
  const scopes = {};
  const flows = { clientCredentials: { tokenUrl: '/t', scopes } };
  const schemes = {
    Hallpass: { type: 'http', flows },
    Hallpass2: { type: 'oauth2', flows: { authorizationCode: { scopes } } },
    Hallpass3: { type: 'oauth2', flows: { clientCredentials: { tokenUrl: '/t', scopes: [] } } },
    Hallpass4: 7,
  };
  const nameIn = async (securitySchemes: Members): Promise<readonly string[]> => {
    const { overlay } = await draftPolicy(
      fileOf({ ...api({ '/a': { get: needs('/a.read') } }), components: { securitySchemes } }),
    );
    const { security } = overlay?.actions.at(-1)?.update ?? {};
    assert.ok(Array.isArray(security));
    return security.flatMap((requirement: Members) => Object.keys(requirement));
  };
  assert.deepEqual(await nameIn(schemes), ['Hallpass5']);
  assert.deepEqual(await nameIn({ ...schemes, Fit: { type: 'oauth2', flows } }), ['Fit']);
});

test('only a scope that is one, and settled, shows the others how it is done', async () => {
  const drafted = async (get: Members): Promise<string | undefined> =>
    (await draft(api({ '/a': { get, put: {} } })))[0];
  assert.equal(await drafted(asks('/x.read')), 'PUT /a: /x.write?');
  for (const get of [asks('accounts:read'), { ...asks('/x.read'), 'x-hallpass-unsure': 'Is it?' }]) {
    assert.equal(await drafted(get), 'PUT /a: /a.write?');
  }
});

test('an overlay has each text on a line of its own, however long, and nothing by reference', async () => {
  const long = `/${'a'.repeat(100)}/${'b'.repeat(100)}`;
  const { overlay } = await draftPolicy(fileOf(api({ [long]: { get: {} }, [`${long}/c`]: { get: {}, put: {} } })));
  assert.ok(overlay !== undefined);
  const text = printOverlay({ ...overlay, actions: [...overlay.actions, ...overlay.actions] });
  assert.deepEqual(parse(text).info, overlay.info);
  // `&a1` and `*a1` are what an anchor and its uses would look like.
  assert.doesNotMatch(text, /[&*]a\d/);
  const lines = text.split('\n');
  for (const { target, description = '', update } of overlay.actions) {
    const reason = update?.['x-hallpass-unsure'];
    for (const whole of [target, description, typeof reason === 'string' ? reason : '']) {
      assert.ok(
        lines.some((line) => line.includes(whole)),
        whole,
      );
    }
  }
});

test('a printed overlay holds nothing that a terminal obeys, and says the same to whoever reads it as YAML', async () => {
  const evil = '\u001b[2J\u009b31m\u007f\u0000\r\u202eabc\u2066\u2029';
  const overlay = {
    overlay: '1.0.0',
    info: { title: `a: ${evil}`, version: evil },
    actions: [
      { target: `$.paths['${evil}'].get`, description: `${'long '.repeat(20)}\n${evil}`, update: { [evil]: [evil] } },
    ],
  };
  const text = printOverlay(overlay);
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/);
  assert.deepEqual(parse(text), overlay);
});
