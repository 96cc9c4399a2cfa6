/** `hallpass guard`: a guard as a separate process, which a proxy asks about each request. */
import type { RequestListener } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { pino } from 'pino';
import {
  createGuard,
  Misconfigured,
  type Guard,
  type GuardEvent,
  type GuardOptions,
  type Policy,
  type WhenStale,
} from '@hallpass/guard';
import { forwardAuth, OVERRIDES, PROXIES, type Override, type Proxy } from '@hallpass/guard/forward';
import { CommandRefusal } from '../command_refusal.ts';
import { standardError } from '../../http/log_destination.ts';
import { watchDescriptors } from '../../http/descriptors.ts';
import { parseHostName } from '../../http/operator_hosts.ts';
import { startPlainServer, type PlainServer } from '../../http/plain_server.ts';
import { collect, given } from '../command_values.ts';
import {
  issuerAddressOption,
  issuerPlaintextOption,
  openPolicy,
  type GuardEnvironment,
  type Plaintext,
  type PolicyFile,
} from '../guard_settings.ts';
import { sideListener } from '../../serving/guard_side.ts';
import { endUnread, good, printDocument, printLine, strong } from '../output.ts';
import { proxyConfiguration } from '../proxy_configuration.ts';
import { BadSetting, DRAIN_SECONDS, DRAIN_SECONDS_MAX, isDevelopmentIssuer } from '../../serving/settings/settings.ts';
import { systemClock } from '../../serving/system.ts';
import { watchStopSignals } from '../../serving/stop_signals.ts';

interface GuardCommandOptions extends PolicyFile {
  readonly audience: string;
  readonly issuer?: string;
  readonly issuerAddress?: string;
  readonly issuerPlaintext?: Plaintext;
  readonly proxy: Proxy;
  readonly listen: Address;
  readonly side: Address;
  readonly sideHost?: readonly string[];
  readonly publicUrl?: string;
  readonly trust?: readonly string[];
  readonly maxStaleness?: number;
  readonly whenStale?: WhenStale;
  readonly opaqueTokens?: number;
  readonly apiKeys?: number;
  readonly passOverride?: readonly Override[];
  readonly drain?: number;
  readonly printConfig?: boolean;
}

/** Where to listen. */
interface Address {
  readonly host: string;
  readonly port: number;
}

const LISTEN: Address = { host: '127.0.0.1', port: 9090 };
const SIDE: Address = { host: '127.0.0.1', port: 9091 };

/** The command `guard`. */
export function guardCommand(readEnvironment: () => GuardEnvironment): Command {
  return new Command('guard')
    .description('answer a proxy in front of an API: may this request pass? (nginx, Traefik, Envoy)')
    .requiredOption('--policy <file>', 'which scope opens which route: OpenAPI, or routes with their scopes')
    .requiredOption('--audience <uri>', 'this API, as it appears in the aud of tokens')
    .option('--overlay <file>', 'an OpenAPI overlay to apply first')
    .option('--scopes <file>', 'Hallpass scopes for scopes that are words or URLs')
    .option('--base-path <path>', 'the prefix of the paths in the OpenAPI file')
    .option('--issuer <url>', 'the issuer of the tokens (default: HALLPASS_ISSUER, or http://localhost:8080)')
    .addOption(issuerAddressOption())
    .addOption(issuerPlaintextOption())
    .addOption(new Option('--proxy <name>', 'the proxy in front of this guard').choices(PROXIES).default('nginx'))
    .addOption(addressOption('--listen', 'the address that the proxy asks', LISTEN))
    .addOption(addressOption('--side', 'the address of health, metrics and the metadata of the API', SIDE))
    .option(
      '--side-host <name>',
      'another host name that the --side listener answers to, besides localhost and its address; may repeat',
      collect,
    )
    .option(
      '--public-url <url>',
      'the URL at which clients call the API; without it, tokens bound to a key are refused',
    )
    .option(
      '--trust <address>',
      'a trusted proxy, or a network of them; may repeat (default: this machine only)',
      collect,
    )
    .option('--max-staleness <seconds>', 'how old the knowledge of revocations may get (default: 10)', Number)
    .addOption(
      new Option('--when-stale <what>', 'what to do when revocations are stale').choices([
        'refuse',
        'introspect',
        'allow',
      ]),
    )
    .option(
      '--opaque-tokens <seconds>',
      'accept opaque tokens, and remember the result of introspection for this long',
      Number,
    )
    .option('--api-keys <seconds>', 'accept API keys over Basic, and remember the result for this long', Number)
    .option('--pass-override <name>', 'let a method or URL override through to the API; may repeat', collectOverride)
    .option(
      '--drain <seconds>',
      `how long to keep answering after SIGTERM while reporting not ready (default: ${DRAIN_SECONDS}; 0 with an issuer on this machine)`,
      parseDrain,
    )
    .option('--print-config', 'print a configuration for the proxy, and exit')
    .addHelpText(
      'after',
      '\nThe key of this API comes from HALLPASS_GUARD_CLIENT_ID and HALLPASS_GUARD_CLIENT_SECRET:\n' +
        '  hallpass keys create "My API" --resource-server AUDIENCE\n',
    )
    .action(async (options: GuardCommandOptions) => {
      const policy = await openPolicy(options);
      if (options.printConfig === true) {
        const { proxy, listen: address, passOverride = [] } = options;
        printDocument(proxyConfiguration(proxy, { guard: printAddress(address), passed: passOverride }));
        return;
      }
      await serve(policy, options, readEnvironment());
    });
}

async function serve(
  policy: Policy,
  options: GuardCommandOptions,
  { issuer: otherwise, credentials }: GuardEnvironment,
): Promise<void> {
  const { proxy, trust, audience, issuer = otherwise } = options;
  if (credentials === undefined) {
    throw new BadSetting(
      'A guard needs an API key to follow revocations. Set HALLPASS_GUARD_CLIENT_ID and HALLPASS_GUARD_CLIENT_SECRET: ' +
        `hallpass keys create "My API" --resource-server ${audience}`,
    );
  }
  const hosts = (options.sideHost ?? []).map((name) => {
    const host = parseHostName(name);
    if (host === undefined) throw new BadSetting('--side-host must be a host name without a port.');
    return host;
  });
  const log = pino({ base: null }, standardError());
  const drainSeconds = options.drain ?? (URL.canParse(issuer) && isDevelopmentIssuer(issuer) ? 0 : DRAIN_SECONDS);
  let draining = false;
  watchDescriptors({ report: (message) => log.error(message), elapsed: systemClock.elapsed });
  const guard = open({
    ...given({
      issuerAddress: options.issuerAddress,
      issuerPlaintext: options.issuerPlaintext,
      publicURL: options.publicUrl,
      maxStalenessSeconds: options.maxStaleness,
      whenStale: options.whenStale,
      opaqueTokenSeconds: options.opaqueTokens,
      apiKeySeconds: options.apiKeys,
      passOverrides: options.passOverride,
    }),
    issuer,
    audience,
    credentials,
    onEvent: (event) => logEvent(log, event),
  });
  const watch = watchStopSignals();
  try {
    const ask = meant(() =>
      forwardAuth(guard, policy, {
        proxy,
        ...given({ trust }),
        onRefusal: (refusal) => log.info(refusal, 'refused'),
      }),
    );
    const isDraining = (): boolean => draining;
    const side = await listen(sideListener(guard, policy, { hosts, isDraining }), { at: options.side, log });
    try {
      // A guard that does not know yet what is revoked would refuse everybody. A proxy takes one that does not listen for down.
      const first = await Promise.race([fit(guard).then(() => 'ready'), watch.stopped]);
      if (first !== 'ready') return;
      const asked = await listen(ask, { at: options.listen, log });
      printLine(`${good('The guard is ready:')} ${strong(`${proxy} asks ${addressOf(asked)}`)}`);
      printLine(`  tokens of ${issuer} for ${audience}, by ${options.policy}`);
      printLine(`  health, metrics and metadata on ${addressOf(side)}`);
      await watch.stopped;
      draining = true;
      asked.startDraining();
      await sleep(drainSeconds * 1_000);
      await asked.close();
    } finally {
      // However this ends: an open listener would keep the process alive, deaf to signals.
      await side.close();
    }
  } finally {
    guard.close();
    watch.release();
  }
  endUnread();
}

/** Resolves when the guard is ready. Throws `BadSetting` when waiting cannot help. */
async function fit(guard: Guard): Promise<void> {
  try {
    await guard.ready();
  } catch (error) {
    if (error instanceof Misconfigured) throw new BadSetting(error.message);
    throw error;
  }
}

function open(options: GuardOptions): Guard {
  return meant(() => createGuard(options));
}

/** Runs something of the guard's that throws `TypeError` on bad options. They are settings here. */
function meant<Made>(make: () => Made): Made {
  try {
    return make();
  } catch (error) {
    if (error instanceof TypeError) throw new BadSetting(error.message);
    throw error;
  }
}

const GOOD_NEWS: readonly GuardEvent['kind'][] = [
  'feed_connected',
  'key_set_fetched',
  'feed_reread',
  'clock_agrees',
  'issuer_agrees',
];

function logEvent(log: pino.Logger, { kind, ...detail }: GuardEvent): void {
  if (GOOD_NEWS.includes(kind)) log.info(detail, kind);
  else log.warn(detail, kind);
}

async function listen(
  listener: RequestListener,
  { at, log }: { readonly at: Address; readonly log: pino.Logger },
): Promise<PlainServer> {
  try {
    return await startPlainServer(listener, { ...at, onRefusal: (refused) => log.info(refused, 'refused') });
  } catch (error) {
    const why = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new CommandRefusal(
      `Cannot listen on ${at.host}:${at.port} (${why}). Choose another address with --listen or --side.`,
    );
  }
}

function addressOf({ address: { address: host, port } }: PlainServer): string {
  return printAddress({ host, port });
}

function printAddress({ host, port }: Address): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function addressOption(name: string, what: string, otherwise: Address): Option {
  const { host, port } = otherwise;
  return new Option(`${name} <address>`, what).argParser(parseAddress).default(otherwise, `${host}:${port}`);
}

function parseDrain(text: string): number {
  const seconds = /^[0-9]{1,3}$/.test(text) ? Number(text) : DRAIN_SECONDS_MAX + 1;
  if (seconds <= DRAIN_SECONDS_MAX) return seconds;
  throw new InvalidArgumentError(`Whole seconds, 0 to ${DRAIN_SECONDS_MAX}.`);
}

function collectOverride(text: string, others: readonly Override[] = []): readonly Override[] {
  const name = OVERRIDES.find((known) => known === text);
  if (name === undefined) throw new InvalidArgumentError(`One of ${OVERRIDES.join(', ')}.`);
  return [...others, name];
}

function parseAddress(text: string): Address {
  const [, host, bare, port = ''] = /^(?:\[([0-9a-f:.]+)\]|([^[\]:]+)):(\d{1,5})$/i.exec(text) ?? [];
  const name = host ?? bare;
  if (name === undefined || Number(port) > 65_535) {
    throw new InvalidArgumentError('An address and a port, such as 127.0.0.1:9090.');
  }
  return { host: name, port: Number(port) };
}
