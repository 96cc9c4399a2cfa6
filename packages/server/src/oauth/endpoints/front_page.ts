/** GET /: one page for a person who opens the address of this server in a browser, and the same in plain text. */
import { createHash } from 'node:crypto';
import { metadataURL, PATHS } from '@hallpass/protocol';
import type { Authority } from '../authority.ts';
import { NO_STORE, type Endpoint, type WireResponse } from '../../wire.ts';

const WHAT =
  'This is an OAuth 2.0 authorization server. It issues short-lived access tokens to programs that call an API.';
const NO_SIGN_IN = 'There is nothing to sign in to here. API keys come from the people who run this server.';
const GUIDES = 'Guides for developers and operators are part of Hallpass: README.md, and the docs folder beside it.';

interface Row {
  readonly name: string;
  readonly address: string;
  readonly meaning: string;
}

/**
 * HTML if the caller's Accept names `text/html`, as browsers do, and otherwise plain text. It tells strangers what the
 * metadata tells them, and nothing else: no version, no key.
 */
export function frontPageEndpoint({ issuer }: Authority): Endpoint {
  const rows = listRows(issuer);
  const page = answer('text/html; charset=utf-8', printPage(issuer, rows));
  const text = answer('text/plain; charset=utf-8', printText(issuer, rows));
  return async (request) => (asksForHtml(request.header('accept') ?? '') ? page : text);
}

function listRows(issuer: string): readonly Row[] {
  const base = issuer.replace(/\/$/, '');
  return [
    { name: 'Metadata', address: metadataURL(base), meaning: 'every endpoint, and what is supported (RFC 8414)' },
    { name: 'OpenAPI', address: base + PATHS.openapi, meaning: 'every request and every response' },
    { name: 'Signing keys', address: base + PATHS.jwks, meaning: 'to verify tokens (RFC 7517)' },
  ];
}

/** Whether an Accept field names HTML (RFC 9110 §12.5.1). `*`/`*` is what programs send. */
function asksForHtml(accept: string): boolean {
  return accept.split(',').some((range) => {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    return type === 'text/html' && !parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter));
  });
}

const STYLE = `
:root { color-scheme: light dark; --text: #1c2024; --dim: #5b6470; --line: #d9dde2; --ground: #ffffff; --link: #0b57b8 }
@media (prefers-color-scheme: dark) {
  :root { --text: #e7eaee; --dim: #a2abb6; --line: #343b44; --ground: #14171b; --link: #8ab8ff }
}
* { box-sizing: border-box }
body { margin: 0; padding: 10vh 1.25rem 3rem; background: var(--ground); color: var(--text); font: 1rem/1.55 system-ui, sans-serif }
main { max-width: 42rem; margin: 0 auto }
h1 { margin: 0 0 .75rem; font-size: 1.75rem; line-height: 1.2 }
p { margin: 0 0 .75rem }
dl { margin: 2rem 0; border-top: 1px solid var(--line) }
dl div { padding: .75rem 0; border-bottom: 1px solid var(--line) }
dt { font-weight: 600 }
dt span { font-weight: 400; color: var(--dim) }
dd { margin: .15rem 0 0; font-family: ui-monospace, monospace; font-size: .9rem; overflow-wrap: anywhere }
a { color: var(--link) }
`;
/** Allows the style by its hash, so that nothing injected into the page could bring another. */
const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');
const CONTENT_SECURITY_POLICY = `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

function printPage(issuer: string, rows: readonly Row[]): string {
  const entries = rows.map(
    ({ name, address, meaning }) =>
      `<div><dt>${name} <span>${meaning}</span></dt><dd><a href="${escapeHtml(address)}">${escapeHtml(address)}</a></dd></div>`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hallpass</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>Hallpass</h1>
<p>${WHAT}</p>
<p>${NO_SIGN_IN}</p>
<dl>
<div><dt>Issuer <span>the <code>iss</code> of every token</span></dt><dd>${escapeHtml(issuer)}</dd></div>
${entries.join('\n')}
</dl>
<p>${GUIDES}</p>
</main>
</body>
</html>
`;
}

function printText(issuer: string, rows: readonly Row[]): string {
  const all = [{ name: 'Issuer', address: issuer }, ...rows];
  const lines = all.map(({ name, address }) => `${`${name}:`.padEnd(14)}${address}`);
  return `Hallpass\n\n${WHAT}\n${NO_SIGN_IN}\n\n${lines.join('\n')}\n\n${GUIDES}\n`;
}

function answer(contentType: string, body: string): WireResponse {
  const headers = {
    ...NO_STORE,
    'content-type': contentType,
    'content-security-policy': CONTENT_SECURITY_POLICY,
    'referrer-policy': 'no-referrer',
    vary: 'Accept',
  };
  return { status: 200, headers, body: Buffer.from(body) };
}

/** Escapes a text for HTML, in an element or a quoted attribute. An issuer may contain `&` and `'`. */
function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
