import { makeHandler } from './api.mjs';

const onListen = ({ port }) => console.log(port);
Deno.serve({ port: 0, hostname: '127.0.0.1', onListen }, makeHandler(Deno.env.get('ISSUER')));
