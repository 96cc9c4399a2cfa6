import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { shellWord } from '../../src/cli/shell_word.ts';

for (const id of ['plain_id-43', 'two words', "it's", '$(touch x); `y` "z" \\', '*', '~', '-x', '#', '']) {
  test(`${JSON.stringify(id)} is one argument of a suggested command, never an option`, () => {
    const script = `printf '%s|' a ${shellWord(id)} b`;
    const expected = id.startsWith('-') ? ['a', '--', id, 'b'] : ['a', id, 'b'];
    assert.deepEqual(execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' }).split('|').slice(0, -1), expected);
  });
}
