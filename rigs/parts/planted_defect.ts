/**
 * Simulates a store that acknowledges before it commits: between a kill and the restart, it removes one acknowledged
 * revocation and undoes one acknowledged rotation. A rig that does not notice proves nothing.
 */
import type { Session } from './acknowledgements.ts';

/** Plants the defect in one of these sessions each. `tamper` runs a statement behind the server's back. */
export async function plantDefect(
  tamper: (statement: string) => Promise<void>,
  sessions: readonly Session[],
): Promise<void> {
  const revoked = sessions.findLast(({ ended }) => ended);
  if (revoked !== undefined) {
    await tamper(`DELETE FROM revocations WHERE kind = 'grant' AND subject = '${grantOf(revoked)}'`);
  }
  const rotated = sessions.findLast((session) => {
    return !session.ended && session.refreshTokens.length > 2 && session.unanswered?.asked !== 'revoke';
  });
  if (rotated !== undefined) {
    // Two generations back: one more than a rotation without an answer can account for.
    await tamper(`UPDATE families SET generation = generation - 2 WHERE grant_id = '${grantOf(rotated)}'`);
  }
}

function grantOf({ accessTokens }: Session): string {
  const [, payload = ''] = (accessTokens[0] ?? '').split('.');
  const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString());
  const grantId = new Map<string, unknown>(Object.entries(claims ?? {})).get('grant_id');
  if (typeof grantId !== 'string' || !/^[\w-]+$/.test(grantId)) throw new Error('an access token names its grant');
  return grantId;
}
