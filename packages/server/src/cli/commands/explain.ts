/** `hallpass explain`: what a guard would answer to a request, and why. */
import { Command, InvalidArgumentError } from 'commander';
import { createGuard, type Policy, type RouteDecision } from '@hallpass/guard';
import { isRefusal, parseAccessToken, PATHS, refuse, printRefusal, type AccessTokenClaims } from '@hallpass/protocol';
import { commandProcess } from '../command_process.ts';
import { given } from '../command_values.ts';
import {
  issuerAddressOption,
  issuerPlaintextOption,
  openPolicy,
  type GuardEnvironment,
  type Plaintext,
  type PolicyFile,
} from '../guard_settings.ts';
import { good, printFields, printJson, printLine, printMoment, strong, warn } from '../output.ts';
import { shellWord } from '../shell_word.ts';
import { BadSetting } from '../../serving/settings/settings.ts';
import { readStandardInput } from '../standard_input.ts';

/** What a client reads when the clock of the API is wrong. */
const { error_description: CLOCKS_DIFFER } = printRefusal(refuse('clock_differs')).body;

const VALUE_NOT_ALLOWED = printRefusal(refuse('value_not_allowed')).body.error_description.replace(/\.$/, '');

interface ExplainOptions extends PolicyFile {
  readonly audience?: string;
  readonly issuer?: string;
  readonly issuerAddress?: string;
  readonly issuerPlaintext?: Plaintext;
  readonly json?: boolean;
}

interface Question {
  readonly token: string;
  readonly method: string;
  readonly path: string;
}

/** Without a key, the issuer is asked nothing that needs one. */
const NO_KEY = { clientId: 'nobody', clientSecret: 'nothing' };

/** The command `explain`. */
export function explainCommand(readEnvironment: () => GuardEnvironment): Command {
  return new Command('explain')
    .description('say what a guard would answer to a request with this token, and why')
    .argument('<token>', 'an access token, or - to read it from standard input, which no shell history keeps')
    .argument('<method>', 'such as GET', parseMethod)
    .argument('<path>', 'the path that a client sends, such as /accounts/a1/transfers')
    .requiredOption('--policy <file>', 'which scope opens which route: OpenAPI, or routes with their scopes')
    .option('--overlay <file>', 'an OpenAPI overlay to apply first')
    .option('--scopes <file>', 'Hallpass scopes for scopes that are words or URLs')
    .option('--base-path <path>', 'the prefix of the paths in the OpenAPI file')
    .option('--issuer <url>', 'the issuer of the tokens (default: HALLPASS_ISSUER, or http://localhost:8080)')
    .addOption(issuerAddressOption())
    .addOption(issuerPlaintextOption())
    .option('--audience <uri>', 'the API, as it appears in the aud of tokens (default: the issuer)')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nThe issuer is asked whether the token was revoked, with the key in HALLPASS_GUARD_CLIENT_ID and\n' +
        'HALLPASS_GUARD_CLIENT_SECRET. Exit code 0: allowed, 1: refused.\n',
    )
    .action(async (text: string, method: string, path: string, options: ExplainOptions) => {
      const token = text === '-' ? (await readStandardInput()).trim() : text;
      const policy = await openPolicy(options);
      const environment = readEnvironment();
      const question = { token, method, path };
      const decision = await decide(policy, question, { ...options, environment });
      if (!decision.allowed) commandProcess().exitCode = 1;
      const explained = explain(policy, question, { decision, asked: environment.credentials !== undefined });
      if (options.json === true) printJson(explained);
      else print(explained);
    });
}

/** Methods are case-sensitive (RFC 9110 §9.1), and those of a policy are in capitals: `get` would open nothing. */
function parseMethod(text: string): string {
  if (!/^[A-Z][A-Z-]*$/.test(text)) throw new InvalidArgumentError('Write it in capitals, as it is sent: GET.');
  return text;
}

/** The decision of a guard like one in an API, except that it asks the issuer about this one token. */
async function decide(
  policy: Policy,
  { token, method, path }: Question,
  options: ExplainOptions & { environment: GuardEnvironment },
): Promise<RouteDecision> {
  const { environment, issuerAddress, issuerPlaintext } = options;
  const { issuer = environment.issuer } = options;
  const { audience = issuer } = options;
  const { credentials } = environment;
  try {
    const guard = createGuard({
      ...given({ issuerAddress, issuerPlaintext }),
      issuer,
      audience,
      // What the guard would warn of is in the answer.
      onEvent: () => {},
      credentials: credentials ?? NO_KEY,
      whenStale: credentials === undefined ? 'allow' : 'introspect',
      startWaitSeconds: 0,
      ...(credentials === undefined ? {} : { opaqueTokenSeconds: 0 }),
      // No feed for one question: without it the guard asks the issuer, or allows, as `whenStale` says.
      fetch: (input, init) =>
        new Request(input).url.endsWith(PATHS.revocations)
          ? Promise.reject(new TypeError('not followed'))
          : fetch(input, init),
    });
    try {
      return await guard.checkRoute(policy, { method, url: path, headers: { authorization: `Bearer ${token}` } });
    } finally {
      guard.close();
    }
  } catch (error) {
    if (error instanceof TypeError) throw new BadSetting(error.message);
    throw error;
  }
}

interface Explained {
  readonly allowed: boolean;
  readonly status: number;
  readonly error?: string;
  /** The sentence that the client gets. */
  readonly says: string;
  /** For the operator of the API: which check refused. */
  readonly because?: string;
  readonly route?: string;
  readonly needs?: string;
  readonly client_id?: string;
  readonly scopes?: readonly string[];
  readonly audience?: string | readonly string[];
  readonly issued_by?: string;
  readonly expires_at?: number;
  readonly revocation: 'checked' | 'not checked';
  /** What to do next. */
  readonly next: string;
}

function explain(
  policy: Policy,
  { token, method, path }: Question,
  { decision, asked }: { readonly decision: RouteDecision; readonly asked: boolean },
): Explained {
  const match = policy.match(method, path);
  // Shown without being verified: the decision is the guard's.
  const claims = parseAccessToken(token)?.claims();
  return {
    allowed: decision.allowed,
    ...(decision.allowed
      ? { status: 200, says: 'The request is allowed.' }
      : {
          status: decision.status,
          error: decision.body.error,
          says: decision.body.error_description,
          because: decision.because,
        }),
    ...(isRefusal(match) ? {} : { route: match.route, needs: match.scope.text }),
    ...(claims === undefined ? {} : membersOf(claims)),
    revocation: asked ? 'checked' : 'not checked',
    next: nextStep(decision, claims),
  };
}

function membersOf({ client_id, scope, aud, iss, exp }: AccessTokenClaims): Partial<Explained> {
  return { client_id, scopes: scope.split(' '), audience: aud, issued_by: iss, expires_at: exp };
}

function nextStep(decision: RouteDecision, claims: AccessTokenClaims | undefined): string {
  if (decision.allowed) return 'Nothing: the API accepts it.';
  const { body, status } = decision;
  const key = claims?.client_id ?? 'CLIENT_ID';
  if (body.scope !== undefined) {
    return `Ask for a token with scope=${body.scope}. Whether the key may have it: hallpass keys show ${shellWord(key)}`;
  }
  if (body.error_description.startsWith(VALUE_NOT_ALLOWED)) {
    return 'Give what the path names an id that a scope can hold, or check that route in its handler: guard.check(request, SCOPE).';
  }
  if (status === 403) return 'Add the route to the policy: hallpass policy check FILE prints the routes that it has.';
  if (status === 400 && decision.because.includes('overrides')) return 'Leave _method out of the query.';
  if (status === 400 && decision.because.includes('credentials')) return 'Give only the token, without Bearer.';
  if (status === 400)
    return 'Send the path in its plain form: it begins with a slash, and has no empty or dot segments.';
  // Only the issuer's name is wrong, and the sentence says which.
  if (decision.because.startsWith('The issuer calls itself')) return 'Set --issuer to what the issuer calls itself.';
  if (status === 503) return 'The issuer did not answer. Check --issuer, and that it runs.';
  // A new token would be refused for the same reason.
  if (body.error_description === CLOCKS_DIFFER) return 'Set the clock of this machine, or that of the issuer.';
  if (claims !== undefined && /another (?:issuer|audience)/.test(decision.because)) {
    return 'The token is from another issuer, or for another API: compare with --issuer and --audience.';
  }
  return 'Ask for a new token.';
}

function print(explained: Explained): void {
  const { allowed, status, error, says, because, expires_at: expiresAt, audience, scopes } = explained;
  const verdict = allowed ? good('allowed') : warn(`refused, ${status} ${error ?? ''}`);
  printLine(`${strong(verdict)}: ${says}`);
  printFields([
    ['route', explained.route ?? (says.startsWith(VALUE_NOT_ALLOWED) ? undefined : 'none of the policy')],
    ['needs', explained.needs],
    ['token holds', scopes?.join(' ')],
    ['token of', explained.client_id],
    ['for', typeof audience === 'string' ? audience : audience?.join(' ')],
    ['issued by', explained.issued_by],
    ['expires', expiresAt === undefined ? undefined : printMoment(expiresAt * 1000)],
    ['revocation', explained.revocation],
    ['because', because],
  ]);
  printLine(explained.next);
}
