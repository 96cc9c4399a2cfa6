/**
 * What a guard reports to the API's operator. Events never contain a token or a secret.
 *   feed_connected        the backlog has been read; revocations now arrive as they happen (`stream`), or by polling at
 *                         least twice a second because something on the way blocks the stream (`poll`)
 *   feed_lost             the feed ended or went silent; the guard reconnects by itself
 *   feed_refused          the server refuses the guard's credentials (401 or 403); the guard keeps trying, slowly
 *   key_set_fetched       `keys` is the number of usable keys
 *   key_set_failed        the guard keeps using its keys, for an hour at most, or 30 s if others were published
 *   introspection_failed  a check was answered with 503
 *   clock_jumped          this machine's clock was set by `seconds`, forward or back, or the machine slept. The guard
 *                         rereads all revocations and drops none that it knows
 *   feed_reread           the reread is done; `revocations` is the number read
 *   clock_differs         this machine's clock differs from the issuer's by more than the leeway (`offsetSeconds` is
 *                         negative if it's behind): valid tokens are refused until one of the clocks is set
 *   clock_agrees          the clocks agree again
 *   issuer_differs        the issuer calls itself `found`, but the guard expects `expected`: every request gets a 503, because
 *                         the tokens aren't to blame
 *   issuer_agrees         the names agree again
 *   audience_differs      a valid token was refused because it's for `found`, and the guard's audience is `expected`; reported
 *                         once for each of the first ten audiences
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
