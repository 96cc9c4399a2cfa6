/**
 * What a guard tells whoever runs it: whether it hears of revocations and has its keys. Never a token, never a secret.
 *   feed_connected        the backlog was read; revocations now arrive as they happen (`stream`), or are asked for
 *                         twice a second or more, since something on the way keeps the stream back (`poll`)
 *   feed_lost             the feed ended or fell silent; the guard reconnects by itself
 *   feed_refused          the server does not accept the guard's credentials (401 or 403); it goes on trying, slowly
 *   key_set_fetched       `keys` counts the keys that can be used
 *   key_set_failed        the keys it has are used on, for an hour at most, or 30 s when others were published
 *   introspection_failed  a check was answered with 503
 *   clock_jumped          this machine's clock was set, or the machine slept: by `seconds`, forward or back. Revocations
 *                         are read again from the start; nothing that is known is dropped
 *   feed_reread           that is done; `revocations` counts those that were read
 *   clock_differs         this machine's clock is ahead of the issuer's by more than the leeway, or behind where
 *                         `offsetSeconds` is negative: good tokens are refused until it is set
 *   clock_agrees          that is over
 *   issuer_differs        the issuer calls itself `found`, and the guard expects `expected`: every token is refused, with 503,
 *                         since none of them is to blame
 *   issuer_agrees         that is over
 *   audience_differs      a good token was refused that is for `found`, and the guard's audience is `expected`; told once for
 *                         each audience, of the first ten
 */
export type GuardEvent =
  | { readonly kind: 'feed_connected'; readonly transport: 'stream' | 'poll' }
  | { readonly kind: 'feed_lost'; readonly because: string }
  | { readonly kind: 'feed_refused'; readonly status: number }
  | { readonly kind: 'key_set_fetched'; readonly keys: number }
  | { readonly kind: 'key_set_failed'; readonly because: string }
  | { readonly kind: 'introspection_failed'; readonly because: string }
  | { readonly kind: 'clock_jumped'; readonly seconds: number }
  | { readonly kind: 'feed_reread'; readonly revocations: number }
  | { readonly kind: 'clock_differs'; readonly offsetSeconds: number }
  | { readonly kind: 'clock_agrees' }
  | { readonly kind: 'issuer_differs'; readonly expected: string; readonly found: string }
  | { readonly kind: 'issuer_agrees' }
  | { readonly kind: 'audience_differs'; readonly expected: string; readonly found: readonly string[] };
