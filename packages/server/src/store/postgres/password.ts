/** The password in the address of a database. It is apart from the driver, so that reading the settings does not load that. */

/** Whether an address contains a password. False for text that is not an address. */
export function hasPassword(url: string): boolean {
  return URL.canParse(url) && passwordOf(new URL(url)) !== '';
}

/** The password in an address, with its escapes undone; empty when there is none. */
export function passwordOf(address: URL): string {
  const given = address.searchParams.get('password') ?? address.password;
  try {
    return decodeURIComponent(given);
  } catch {
    return given;
  }
}
