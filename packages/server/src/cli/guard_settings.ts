/** What the commands about a guard are told: by options, and what is secret by environment. */
import type { ClientCredentials } from '@hallpass/protocol';
import { Option } from 'commander';
import { PolicyError, printFault, readPolicy, type PolicyFault } from '@hallpass/guard/openapi';
import type { GuardOptions, Policy } from '@hallpass/guard';
import { OperatorRefusal } from '../operator/operator_refusal.ts';
import { given } from './command_values.ts';
import { printError, printWarning } from './output.ts';
import { BadSetting, readVariables } from '../serving/settings/settings.ts';

export interface GuardEnvironment {
  readonly issuer: string;
  /** Of a resource-server key; undefined where there is none in the environment. */
  readonly credentials: ClientCredentials | undefined;
}

const ISSUER = 'http://localhost:8080';

/** The variables that `readGuardEnvironment` reads, for the document. */
export const GUARD_VARIABLES = [
  { variable: 'HALLPASS_ISSUER', otherwise: ISSUER, meaning: 'The issuer whose tokens the guard takes.' },
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

/** Throws `BadSetting` when there is half of a key, or a variable is misspelt. */
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

export type Plaintext = NonNullable<GuardOptions['issuerPlaintext']>;

export function issuerAddressOption(): Option {
  return new Option('--issuer-address <url>', 'where the issuer is reached, if not under its public name');
}

export function issuerPlaintextOption(): Option {
  return new Option(
    '--issuer-plaintext <what>',
    'whether --issuer-address may be plain http to another machine: allow is for a network that is yours alone',
  ).choices(['refuse', 'allow']);
}

export interface PolicyFile {
  readonly policy: string;
  readonly overlay?: string;
  readonly scopes?: string;
  readonly basePath?: string;
}

/** The policy of a file; operations that it closes are warned of. Prints every fault of the file before it throws `OperatorRefusal`. */
export async function openPolicy({ policy, overlay, scopes, basePath }: PolicyFile): Promise<Policy> {
  try {
    const onClosed = (faults: readonly PolicyFault[]): void => {
      for (const fault of faults) printWarning(printFault(fault));
    };
    return await readPolicy(policy, { ...given({ overlay, scopes, basePath }), onClosed });
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    for (const fault of error.faults) printError(printFault(fault));
    throw new OperatorRefusal(`No policy can be made of ${policy}: hallpass policy check says more.`);
  }
}
