/**
 * What a guard tells whoever runs it: whether it hears of revocations and has its keys. Never a token, never a secret.
 *   feed_connected        the backlog was read; revocations now arrive as they happen (`stream`), or are asked for
 *                         twice a second or more, since something on the way keeps the stream back (`poll`)
 *   feed_lost             the feed ended or fell silent; the guard reconnects by itself
 *   feed_refused          the server does not accept the guard's credentials (401 or 403); it goes on trying, slowly
 *   key_set_fetched       `keys` counts the keys that can be used
 *   key_set_failed        the keys it has are used on, for an hour at most, or 30 s when others were published
 *   introspection_failed  a check was answered with 503
 */
export type GuardEvent =
  | { readonly kind: 'feed_connected'; readonly transport: 'stream' | 'poll' }
  | { readonly kind: 'feed_lost'; readonly because: string }
  | { readonly kind: 'feed_refused'; readonly status: number }
  | { readonly kind: 'key_set_fetched'; readonly keys: number }
  | { readonly kind: 'key_set_failed'; readonly because: string }
  | { readonly kind: 'introspection_failed'; readonly because: string };
