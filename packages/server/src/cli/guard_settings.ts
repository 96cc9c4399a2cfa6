/** The settings of the commands about a guard: options, and the environment for secrets. */
import type { ClientCredentials } from '@hallpass/protocol';
import { Option } from 'commander';
import { PolicyError, printFault, readPolicy, type PolicyFault } from '@hallpass/guard/openapi';
import type { GuardOptions, Policy } from '@hallpass/guard';
import { CommandRefusal } from './command_refusal.ts';
import { given } from './command_values.ts';
import { printError, printWarning } from './output.ts';
import { BadSetting, readVariables } from '../serving/settings/settings.ts';

/** What the environment says about a guard. */
export interface GuardEnvironment {
  readonly issuer: string;
  /** The credentials of a resource-server key; undefined when the environment has none. */
  readonly credentials: ClientCredentials | undefined;
}

const ISSUER = 'http://localhost:8080';

/** The variables that `readGuardEnvironment` reads, for the printed documents. */
export const GUARD_VARIABLES = [
  { variable: 'HALLPASS_ISSUER', otherwise: ISSUER, meaning: 'The issuer whose tokens the guard accepts.' },
  {
    variable: 'HALLPASS_GUARD_CLIENT_ID',
    otherwise: '',
    meaning: 'The `client_id` of a resource-server key, with which the guard follows the feed of revocations.',
  },
  {
    variable: 'HALLPASS_GUARD_CLIENT_SECRET',
    otherwise: '',
    meaning: 'Its `client_secret`. Both, or neither.',
  },
] as const;

/** The settings of a guard. Throws `BadSetting` when half of a key is missing or a variable is misspelt. */
export function readGuardEnvironment(environment: NodeJS.ProcessEnv): GuardEnvironment {
  const variables = readVariables(environment);
  const clientId = variables.get('HALLPASS_GUARD_CLIENT_ID') ?? '';
  const clientSecret = variables.get('HALLPASS_GUARD_CLIENT_SECRET') ?? '';
  if ((clientId === '') !== (clientSecret === '')) {
    throw new BadSetting('HALLPASS_GUARD_CLIENT_ID and HALLPASS_GUARD_CLIENT_SECRET belong together: set both.');
  }
  return {
    issuer: variables.get('HALLPASS_ISSUER') || ISSUER,
    credentials: clientId === '' ? undefined : { clientId, clientSecret },
  };
}

/** Whether the issuer may be reached over plain http on another machine. */
export type Plaintext = NonNullable<GuardOptions['issuerPlaintext']>;

/** `--issuer-address`. */
export function issuerAddressOption(): Option {
  return new Option('--issuer-address <url>', 'where to reach the issuer, if not at its public address');
}

/** `--issuer-plaintext`. */
export function issuerPlaintextOption(): Option {
  return new Option(
    '--issuer-plaintext <what>',
    'whether --issuer-address may be plain http to another machine; allow it only on a network that is yours alone',
  ).choices(['refuse', 'allow']);
}

/** The options that name the policy of a guard. */
export interface PolicyFile {
  readonly policy: string;
  readonly overlay?: string;
  readonly scopes?: string;
  readonly basePath?: string;
}

/** The policy in a file. Warns of operations that it closes. Prints every fault of the file before it throws `CommandRefusal`. */
export async function openPolicy({ policy, overlay, scopes, basePath }: PolicyFile): Promise<Policy> {
  try {
    const onClosed = (faults: readonly PolicyFault[]): void => {
      for (const fault of faults) printWarning(printFault(fault));
    };
    return await readPolicy(policy, { ...given({ overlay, scopes, basePath }), onClosed });
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    for (const fault of error.faults) printError(printFault(fault));
    throw new CommandRefusal(`No policy can be made of ${policy}: hallpass policy check says more.`);
  }
}
