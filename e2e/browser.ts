/** A real Chromium: the system's if there is one, else the one that npm installed. */
import { existsSync } from 'node:fs';
import { chromium, type Browser } from 'playwright-core';
import packaged from '@sparticuz/chromium';

const SYSTEM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

// It only ever sees pages of this machine; it must not look for anything else. The packaged one's own list of switches
// is left aside: it switches off web security, which is what these tests are about.
const SWITCHES = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-quic',
];

export async function launchBrowser(): Promise<Browser> {
  const executablePath = SYSTEM.find((path) => existsSync(path)) ?? (await packaged.executablePath());
  return await chromium.launch({ executablePath, args: SWITCHES });
}
