// Runs what was built; in a checkout, where nothing is built, the sources themselves.
import { existsSync } from 'node:fs';
import { enableCompileCache, registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

const built = new URL('../dist/cli/main.js', import.meta.url);
const source = new URL('../src/cli/main.ts', import.meta.url);

if (existsSync(source)) {
  // Stripping the types of every file takes half a second, so it happens once for each version of a file. The variable is
  // for the worker threads.
  process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL('../../../.cache/compile', import.meta.url));
  enableCompileCache(process.env.NODE_COMPILE_CACHE);
  registerHooks({
    resolve: (specifier, context, next) =>
      next(specifier, { ...context, conditions: [...context.conditions, 'hallpass-source'] }),
  });
  await import(source.href);
} else {
  await import(built.href);
}
