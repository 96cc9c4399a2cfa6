/** The options of `fetch` that keep credentials where they belong, as far as this runtime takes them. */

/**
 * No cookie goes along, and no cache keeps the answer. A runtime without cookies or without a cache may refuse the
 * option, as Cloudflare's workers do, and then every request with it would fail.
 */
export function privateOptions(): RequestInit {
  return { ...ifTaken({ credentials: 'omit' }), ...ifTaken({ cache: 'no-store' }) };
}

/** Tried on a request that is never sent. Where there is no `Request` to try, nothing is known to refuse the option. */
function ifTaken(option: RequestInit): RequestInit {
  try {
    if (typeof Request === 'function') void new Request('https://localhost/', { method: 'POST', ...option });
    return option;
  } catch {
    return {};
  }
}
