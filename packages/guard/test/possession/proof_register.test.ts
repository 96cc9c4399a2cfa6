/** Where proofs are used up: here first, then in the store that instances share, which has so long to answer. */
import { refuse } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Outage } from '../../src/outage.ts';
import { ProofRegister } from '../../src/possession/proof_register.ts';
import { NOW_SECONDS, TestClock } from '../issuer.ts';

const EXPIRES_AT = NOW_SECONDS + 61;
/** A clock that is 5 s behind, and a store that takes 5 s. */
const SHARED_SLACK_SECONDS = 10;
const STORE_MS_MAX = 5_000;

type Store = (id: string, expiresAt: number) => Promise<boolean>;

function registerOf(rememberProof?: Store): ProofRegister {
  return new ProofRegister({ clock: new TestClock(), proofsPerClientMax: 2, rememberProof });
}

function proofOf(id: string, clientId = 'client-1'): Parameters<ProofRegister['use']>[0] {
  return { clientId, id, expiresAt: EXPIRES_AT };
}

function notGood(fault: string): ReturnType<typeof refuse> {
  return refuse('resource_proof_not_good', { because: `the proof: ${fault}` });
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** What becomes of something on timers that the test moves. */
async function onTimers(body: () => Promise<void>): Promise<void> {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    await body();
  } finally {
    mock.timers.reset();
  }
}

test('without a shared store a proof is good once here, and a client has its share (RFC 9449 §11.1)', async () => {
  const register = registerOf();
  assert.equal(await register.use(proofOf('one')), undefined);
  assert.deepEqual(await register.use(proofOf('one')), notGood('replayed'));
  assert.equal(await register.use(proofOf('two')), undefined);
  assert.deepEqual(
    await register.use(proofOf('three')),
    refuse('rate_limited', { because: 'too many proofs of this client' }),
  );
  assert.equal(await register.use(proofOf('three', 'client-2')), undefined);
});

test('the store is asked about what is fresh here alone, and is told to keep it for longer than it can be used', async () => {
  const asked: (readonly [id: string, expiresAt: number])[] = [];
  const register = registerOf((...proof) => Promise.resolve(asked.push(proof) > 0));
  assert.equal(await register.use(proofOf('one')), undefined);
  assert.deepEqual(await register.use(proofOf('one')), notGood('replayed'));
  assert.equal(await register.use(proofOf('two')), undefined);
  assert.equal((await register.use(proofOf('three')))?.refused, 'rate_limited');
  const until = EXPIRES_AT + SHARED_SLACK_SECONDS;
  assert.deepEqual(asked, [
    ['one', until],
    ['two', until],
  ]);
});

test('true from the store lets a proof in, and nothing else does', async () => {
  assert.equal(await registerOf(() => Promise.resolve(true)).use(proofOf('one')), undefined);
  for (const answer of ['false', '"OK"', '1', 'null', '[true]']) {
    const register = registerOf(() => Promise.resolve(JSON.parse(answer)));
    assert.deepEqual(await register.use(proofOf('one')), notGood('replayed elsewhere'), answer);
  }
});

test('a store that fails is an outage, whose words tell no secret of it, and the proof stays used', async () => {
  const failure = Object.assign(new Error('redis://:secret@cache'), { name: 'StoreError' });
  for (const store of [
    (): Promise<boolean> => Promise.reject(failure),
    (): Promise<boolean> => {
      throw failure;
    },
  ]) {
    const register = registerOf(store);
    await assert.rejects(register.use(proofOf('one')), {
      name: 'Outage',
      message: 'The shared store of proofs could not be asked: StoreError.',
      cause: failure,
    });
    assert.deepEqual(await register.use(proofOf('one')), notGood('replayed'));
  }
});

test('a store has 5 s to answer and not a moment more; what it says later is not heard', async () => {
  await onTimers(async () => {
    for (const [milliseconds, isInTime] of [
      [STORE_MS_MAX - 1, true],
      [STORE_MS_MAX, false],
    ] as const) {
      let answer = (_isFresh: boolean): void => {};
      const used = registerOf(() => new Promise((resolve) => (answer = resolve))).use(proofOf('one'));
      const ended = used.catch((thrown: unknown) => thrown);
      await settle();
      mock.timers.tick(milliseconds);
      await settle();
      answer(true);
      if (isInTime) assert.equal(await ended, undefined);
      else {
        const thrown = await ended;
        assert.ok(thrown instanceof Outage);
        assert.equal(thrown.message, 'The shared store of proofs could not be asked: no answer in time.');
      }
    }
  });
});

test('an answer leaves no timer behind, good or bad', async () => {
  const alarms = mock.method(globalThis, 'setTimeout');
  const cancels = mock.method(globalThis, 'clearTimeout');
  try {
    assert.equal(await registerOf(() => Promise.resolve(true)).use(proofOf('one')), undefined);
    await assert.rejects(registerOf(() => Promise.reject(new Error('away'))).use(proofOf('one')), Outage);
    const cancelled = cancels.mock.calls.map(({ arguments: [timer] }) => timer);
    assert.equal(alarms.mock.callCount(), 2);
    for (const { result } of alarms.mock.calls) assert.ok(cancelled.includes(result));
  } finally {
    mock.restoreAll();
  }
});
