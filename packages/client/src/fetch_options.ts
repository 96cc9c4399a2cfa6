/**
 * The `fetch` options that send no cookies and cache no answer, as far as this runtime accepts them. Cloudflare's workers,
 * for example, have no cookies and refuse the option; every request with it would fail.
 */
export function privateOptions(): RequestInit {
  return { ...ifTaken({ credentials: 'omit' }), ...ifTaken({ cache: 'no-store' }) };
}

/** Tries an option on a request that is never sent. Without `Request` the option is assumed to be accepted. */
function ifTaken(option: RequestInit): RequestInit {
  try {
    if (typeof Request === 'function') void new Request('https://localhost/', { method: 'POST', ...option });
    return option;
  } catch {
    return {};
  }
}
