/** An API behind the guard. Which scope opens which operation is stated in openapi.yaml, and nowhere else. */
import { fileURLToPath } from 'node:url';
import express from 'express';
import { createGuard } from '@hallpass/guard';
import { protect } from '@hallpass/guard/express';
import { readPolicy } from '@hallpass/guard/openapi';

const { ISSUER = '', AUDIENCE = '', CLIENT_ID = '', CLIENT_SECRET = '', PORT = '8090' } = process.env;

const guard = createGuard({
  issuer: ISSUER,
  audience: AUDIENCE,
  credentials: { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET },
});
const policy = await readPolicy(fileURLToPath(new URL('openapi.yaml', import.meta.url)));
const { check, route } = protect(guard, policy);

interface Transfer {
  readonly to: string;
  readonly cents: number;
}
const transfersOf = new Map<string, Transfer[]>([['a1', [{ to: 'a2', cents: 12_50 }]]]);

const app = express();
app.use(check);

app.get(
  '/accounts/:id/transfers',
  route('GET /accounts/{accountID}/transfers', (_request, response, { values }) => {
    response.json(transfersOf.get(values.accountID) ?? []);
  }),
);

app.post(
  '/accounts/:id/transfers',
  express.json(),
  route('POST /accounts/{accountID}/transfers', (request, response, { values }) => {
    const { to, cents }: Partial<Transfer> = Object(request.body);
    if (typeof to !== 'string' || !Number.isSafeInteger(cents)) {
      response.status(400).json({ error: 'to is an account, and cents is a whole number' });
      return;
    }
    const transfers = [...(transfersOf.get(values.accountID) ?? []), { to, cents: Number(cents) }];
    transfersOf.set(values.accountID, transfers);
    response.status(201).json(transfers);
  }),
);

await guard.ready();
app.listen(Number(PORT), 'localhost', () => console.log(`listening on port ${PORT}`));
