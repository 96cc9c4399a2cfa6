#!/usr/bin/env node
// The command. A Node that is too old must be able to read this file, so that it can say so: no import statements here,
// and no recent syntax.
const NODE_MAJOR_MIN = 24;
const found = process.versions.node;

function refuse() {
  process.stderr.write(
    `error: Hallpass needs Node ${NODE_MAJOR_MIN} or later, but ${process.execPath} is Node ${found}: ` +
      'install a newer one (https://nodejs.org) and run the command again.\n',
  );
  process.exitCode = 1;
}

if (Number(found.split('.')[0]) < NODE_MAJOR_MIN) {
  // A checkout has a newer one. The published package does not have this file.
  import('../checkout.js').then(
    ({ isRunning }) => isRunning || refuse(),
    () => refuse(),
  );
} else {
  void import('./start.js');
}
