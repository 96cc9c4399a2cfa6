/**
 * A store that acknowledges before it commits, simulated: between a kill and the restart, one acknowledged revocation
 * and one acknowledged rotation are taken out of the file by hand. A rig that does not notice proves nothing.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Session } from './acknowledgements.ts';

export function plantDefect(dataDir: string, sessions: readonly Session[]): void {
  const database = new DatabaseSync(join(dataDir, 'hallpass.db'));
  const revoked = sessions.findLast(({ ended }) => ended);
  if (revoked !== undefined) {
    database.prepare("DELETE FROM revocations WHERE kind = 'grant' AND subject = ?").run(grantOf(revoked));
  }
  const rotated = sessions.findLast((session) => {
    return !session.ended && session.refreshTokens.length > 2 && session.unanswered?.asked !== 'revoke';
  });
  if (rotated !== undefined) {
    // Two generations back: one more than a rotation without an answer can account for.
    database.prepare('UPDATE families SET generation = generation - 2 WHERE grant_id = ?').run(grantOf(rotated));
  }
  database.close();
}

function grantOf({ accessTokens }: Session): string {
  const [, payload = ''] = (accessTokens[0] ?? '').split('.');
  const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString());
  const grantId = new Map<string, unknown>(Object.entries(claims ?? {})).get('grant_id');
  if (typeof grantId !== 'string') throw new Error('an access token names its grant');
  return grantId;
}
