/** The judge of families: it accepts what the contract allows, and each of the ways to break it is refused. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { findViolation, type Call, type Operation } from '../parts/linearizability.ts';

const tokens = (presented: string, refreshToken: string): Call => ({
  asked: 'refresh',
  presented,
  answered: 'tokens',
  refreshToken,
});
const refused = (presented: string): Call => ({ asked: 'refresh', presented, answered: 'refused' });
const lost = (presented: string): Call => ({ asked: 'refresh', presented, answered: 'unknown' });
const REVOKED: Call = { asked: 'revoke', answered: 'acknowledged' };
const REVOKE_LOST: Call = { asked: 'revoke', answered: 'unknown' };
const ACTIVE: Call = { asked: 'introspect', answered: 'active' };
const INACTIVE: Call = { asked: 'introspect', answered: 'inactive' };

/** One after the other, ten milliseconds each. */
function inTurn(...calls: readonly Call[]): readonly Operation[] {
  return calls.map((call, at) => ({ call, invokedAt: at * 10, answeredAt: at * 10 + 5 }));
}

const at = (invokedAt: number, answeredAt: number, call: Call): Operation => ({ call, invokedAt, answeredAt });

const judge = (operations: readonly Operation[], skewMs = 0): string | undefined =>
  findViolation({ firstRefreshToken: 'r0', operations }, { mercyMs: 10_000, skewMs });

suite('what the contract allows (contract §3)', () => {
  const GOOD: Readonly<Record<string, readonly Operation[]>> = {
    'nothing at all': [],
    'a chain of rotations': inTurn(tokens('r0', 'r1'), tokens('r1', 'r2'), tokens('r2', 'r3'), ACTIVE),
    'the predecessor gets the newest again': inTurn(tokens('r0', 'r1'), tokens('r0', 'r1'), tokens('r1', 'r2')),
    'many at once with one token': Array.from({ length: 40 }, () => at(0, 100, tokens('r0', 'r1'))),
    'the token before the predecessor is shown mercy': inTurn(
      tokens('r0', 'r1'),
      tokens('r1', 'r2'),
      refused('r0'),
      ACTIVE,
      tokens('r1', 'r2'),
    ),
    'past the mercy it ends the family': [
      ...inTurn(tokens('r0', 'r1'), tokens('r1', 'r2')),
      at(20_000, 20_001, refused('r0')),
      at(20_002, 20_003, INACTIVE),
      at(20_004, 20_005, refused('r2')),
    ],
    'an older one ends the family at once': inTurn(
      tokens('r0', 'r1'),
      tokens('r1', 'r2'),
      tokens('r2', 'r3'),
      refused('r0'),
      refused('r3'),
      INACTIVE,
    ),
    'a revocation': inTurn(tokens('r0', 'r1'), REVOKED, refused('r1'), INACTIVE, REVOKED),
    'a refresh beside a revocation, either way': [
      at(0, 10, REVOKED),
      at(0, 10, tokens('r0', 'r1')),
      at(0, 10, refused('r0')),
      at(11, 12, INACTIVE),
    ],
    'the predecessor beside the rotation that retires it': [
      ...inTurn(tokens('r0', 'r1')),
      at(100, 200, tokens('r1', 'r2')),
      at(100, 200, tokens('r0', 'r1')),
      at(100, 200, refused('r0')),
      at(201, 202, ACTIVE),
    ],
    'a lost answer to a rotation that was made': [at(0, 5, lost('r0')), at(10, 15, tokens('r0', 'r1'))],
    'a lost answer whose rotation is made much later': [
      at(0, 5, lost('r0')),
      at(10, 15, tokens('r0', 'r1')),
      at(20, 25, lost('r1')),
      at(5_000, 5_001, tokens('r1', 'r2')),
    ],
    'a lost revocation that is made in the end': [
      at(0, 5, REVOKE_LOST),
      at(10, 15, ACTIVE),
      at(20, 25, INACTIVE),
      at(30, 35, refused('r0')),
    ],
    'a lost revocation that never was made': [at(0, 5, REVOKE_LOST), at(10, 15, tokens('r0', 'r1'))],
    'a lost refresh of an old token that ends the family': [
      ...inTurn(tokens('r0', 'r1'), tokens('r1', 'r2'), tokens('r2', 'r3'), lost('r0')),
      at(1_000, 1_001, ACTIVE),
      at(2_000, 2_001, INACTIVE),
    ],
    'fifty lost answers for one token': [
      ...Array.from({ length: 50 }, (_, n) => at(n, n + 1, lost('r0'))),
      at(100, 101, tokens('r0', 'r1')),
      at(102, 103, tokens('r1', 'r2')),
    ],
  };
  for (const [what, operations] of Object.entries(GOOD)) {
    test(what, () => assert.equal(judge(operations), undefined));
  }

  test('near the end of the mercy either is right, and the nearer the clocks the nearer', () => {
    const rotations = inTurn(tokens('r0', 'r1'), tokens('r1', 'r2'));
    for (const after of [ACTIVE, INACTIVE]) {
      const late = [at(10_012, 10_020, refused('r0')), at(10_030, 10_031, after)];
      assert.equal(judge([...rotations, ...late]), undefined);
      const skewed = [at(8_000, 8_001, refused('r0')), at(8_002, 8_003, after)];
      assert.equal(judge([...rotations, ...skewed], 5_000), undefined);
    }
  });

  test('a long history with many callers is judged quickly', () => {
    const operations = Array.from({ length: 200 }, (_, round) =>
      Array.from({ length: 8 }, (__, caller) =>
        caller < 7
          ? at(round * 100, round * 100 + 50, tokens(`r${round}`, `r${round + 1}`))
          : at(round * 100, round * 100 + 50, ACTIVE),
      ),
    ).flat();
    assert.equal(judge(operations), undefined);
  });
});

suite('what the contract forbids is found', () => {
  const BAD: Readonly<Record<string, readonly Operation[]>> = {
    'two successors of one generation': [at(0, 10, tokens('r0', 'r1')), at(0, 10, tokens('r0', 'x1'))],
    'the predecessor answered with other bytes': inTurn(tokens('r0', 'r1'), tokens('r0', 'x1')),
    'a successor that is an older token': inTurn(tokens('r0', 'r1'), tokens('r1', 'r0')),
    'one successor of two tokens': inTurn(tokens('r0', 'r1'), tokens('r1', 'r2'), tokens('r0', 'r2')),
    'a token that nobody was given': inTurn(refused('x')),
    'a success after an acknowledged revocation': inTurn(REVOKED, tokens('r0', 'r1')),
    'a repeated answer after an acknowledged revocation': inTurn(tokens('r0', 'r1'), REVOKED, tokens('r0', 'r1')),
    'a token that is active after an acknowledged revocation': inTurn(REVOKED, ACTIVE),
    'a token that comes back to life': inTurn(REVOKE_LOST, INACTIVE, ACTIVE),
    'a living family that is refused': inTurn(tokens('r0', 'r1'), refused('r1')),
    'a living predecessor that is refused': inTurn(tokens('r0', 'r1'), refused('r0')),
    'a family that is dead without a cause': inTurn(tokens('r0', 'r1'), INACTIVE),
    'a lost rotation: the newest is not known any more': inTurn(tokens('r0', 'r1'), tokens('r1', 'r2'), refused('r2')),
    'a lost rotation: an old token is the predecessor again': inTurn(
      tokens('r0', 'r1'),
      tokens('r1', 'r2'),
      tokens('r0', 'r1'),
    ),
    'mercy that ended the family': inTurn(tokens('r0', 'r1'), tokens('r1', 'r2'), refused('r0'), INACTIVE),
    'reuse that did not end the family': [
      ...inTurn(tokens('r0', 'r1'), tokens('r1', 'r2')),
      at(20_000, 20_001, refused('r0')),
      at(20_002, 20_003, tokens('r2', 'r3')),
    ],
    'reuse of an older one that did not end the family': inTurn(
      tokens('r0', 'r1'),
      tokens('r1', 'r2'),
      tokens('r2', 'r3'),
      refused('r0'),
      ACTIVE,
    ),
    'an effect before its request': [at(0, 5, INACTIVE), at(10, 15, REVOKED)],
    'a lost answer that would have to be given twice': [
      at(0, 5, tokens('r0', 'r1')),
      at(10, 15, lost('r0')),
      at(20, 25, refused('r1')),
    ],
  };
  for (const [what, operations] of Object.entries(BAD)) {
    test(what, () => assert.notEqual(judge(operations), undefined));
  }
});
