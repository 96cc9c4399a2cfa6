// Runs what was built; in a checkout, where nothing is built, the sources themselves.
import { existsSync } from 'node:fs';
import { registerHooks } from 'node:module';

const built = new URL('../dist/cli/main.js', import.meta.url);
const source = new URL('../src/cli/main.ts', import.meta.url);

if (existsSync(source)) {
  registerHooks({
    resolve: (specifier, context, next) =>
      next(specifier, { ...context, conditions: [...context.conditions, 'hallpass-source'] }),
  });
  await import(source.href);
} else {
  await import(built.href);
}
