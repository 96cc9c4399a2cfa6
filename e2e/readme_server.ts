/** An installed Hallpass with the keys that the README has, and the README's examples played against it. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Hallpass } from '@hallpass/client';
import { commandOf, demand, parseObject, serveInstalled, type InstalledServer } from './installed.ts';
import * as readme from './readme_examples.ts';

export interface ReadmeServer extends InstalledServer {
  /** Gets tokens for the README's key. */
  readonly getTokens: (scope: string) => Promise<{ readonly accessToken: string; readonly refreshToken: string }>;
  /** Plays the examples on a Node, in plain JavaScript, and asserts what they print. */
  readonly playExamples: (node: string) => Promise<void>;
}

/** Starts the server that is installed in `project` on the Node `serving`. Its data goes below `home`. */
export async function serveReadme(serving: string, project: string, home: string): Promise<ReadmeServer> {
  mkdirSync(home, { recursive: true });
  const environment = { HALLPASS_DATA_DIR: join(home, 'store'), HALLPASS_LOG_LEVEL: 'info' };
  const server = await serveInstalled(serving, project, environment);
  const createKey = (words: readonly string[], input = ''): Promise<string> =>
    demand(serving, [commandOf(project), 'keys', 'create', ...words], { cwd: project, environment, input });
  const { clientId, clientSecret } = readme.SEED;
  await createKey(['Partner', ...readme.SEED_POLICY, '--client-id', clientId, '--client-secret', '-'], clientSecret);
  const made = parseObject(await createKey(['My API', '--resource-server', readme.API, '--json']));
  const guard = { clientId: String(made['client_id']), clientSecret: String(made['client_secret']) };
  const openapi = join(home, 'openapi.yaml');
  writeFileSync(openapi, readme.OPENAPI);

  const getTokens: ReadmeServer['getTokens'] = async (scope) => {
    const { accessToken } = new Hallpass({ serverURL: server.url });
    const answer = await accessToken.create({ ...readme.SEED, grantType: 'client_credentials', scope });
    const { accessToken: token = '', refreshToken = '' } = answer.accessTokenResponse ?? {};
    return { accessToken: token, refreshToken };
  };

  const playExamples = async (node: string): Promise<void> => {
    const [one, other, { accessToken }] = await Promise.all([
      getTokens('/accounts.write'),
      getTokens('/accounts.write'),
      getTokens('/accounts/a1/transfers.read'),
    ]);
    const [created, revoked, guarded] = await Promise.all([
      playProgram(node, project, readme.createExample(server.url, one.refreshToken)),
      playProgram(node, project, readme.revokeExample(server.url, other.refreshToken)),
      playProgram(node, project, readme.guardExample(server.url, { guard, openapi, accessToken })),
    ]);
    assert.equal(created, '200 application/json /accounts.write\n');
    assert.equal(revoked, '200 {}\n');
    const [allowed = '', refused = ''] = guarded.split('\n');
    assert.equal(allowed, `${clientId} reads the transfers of a1`);
    assert.match(refused, /insufficient_scope.*\/accounts\/a2\/transfers\.read/);
  };

  return { ...server, getTokens, playExamples };
}

let programs = 0;

/** Runs a program in a project on a Node; returns what it printed. */
export async function playProgram(node: string, project: string, code: string, extension = 'js'): Promise<string> {
  programs += 1;
  const file = join(project, `program-${programs}.${extension}`);
  writeFileSync(file, code);
  return await demand(node, [file], { cwd: project });
}
