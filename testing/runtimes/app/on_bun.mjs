import { makeHandler } from './api.mjs';

const { port } = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: makeHandler(process.env.ISSUER) });
console.log(port);
