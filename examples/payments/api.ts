/**
 * A small payments API behind the guard: accounts, and transfers between them. What it does with tokens is the policy
 * and the one call to `protect`; the rest is its own business.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { DatabaseSync } from 'node:sqlite';
import { compilePolicy, type Guard } from '@hallpass/guard';
import { protect } from '@hallpass/guard/node';

const policy = compilePolicy({
  'POST /accounts': '/accounts.write',
  'GET /accounts/{accountID}/transfers': '/accounts/{accountID}/transfers.read',
  'POST /accounts/{accountID}/transfers': '/accounts/{accountID}/transfers.write',
});

/** The API as a server that is not listening yet, its data in this SQLite file. */
export function paymentsApi(guard: Guard, file: string): Server {
  const database = new DatabaseSync(file);
  database.exec(`
    CREATE TABLE IF NOT EXISTS accounts (id TEXT PRIMARY KEY, owner TEXT NOT NULL, cents INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS transfers (id TEXT PRIMARY KEY, source TEXT NOT NULL, target TEXT NOT NULL, cents INTEGER NOT NULL)
  `);
  const insertAccount = database.prepare('INSERT INTO accounts (id, owner, cents) VALUES (?, ?, ?)');
  const insertTransfer = database.prepare('INSERT INTO transfers (id, source, target, cents) VALUES (?, ?, ?, ?)');
  const move = database.prepare('UPDATE accounts SET cents = cents + ? WHERE id = ?');
  const selectTransfers = database.prepare(
    'SELECT id, source, target, cents FROM transfers WHERE source = ? OR target = ?',
  );

  const listener = protect(guard, policy, async (request, response, access) => {
    switch (access.route) {
      case 'POST /accounts': {
        const { cents = 0 } = await readJson(request);
        const account = { id: randomUUID(), owner: access.client.clientId, cents };
        insertAccount.run(account.id, account.owner, account.cents);
        return answer(response, 201, account);
      }
      case 'POST /accounts/{accountID}/transfers': {
        const { target = '', cents = 0 } = await readJson(request);
        const transfer = { id: randomUUID(), source: access.values.accountID, target, cents };
        insertTransfer.run(transfer.id, transfer.source, transfer.target, transfer.cents);
        move.run(-cents, transfer.source);
        move.run(cents, target);
        return answer(response, 201, transfer);
      }
      case 'GET /accounts/{accountID}/transfers': {
        const { accountID } = access.values;
        return answer(response, 200, selectTransfers.all(accountID, accountID));
      }
    }
  });
  return createServer(listener).on('close', () => database.close());
}

async function readJson(request: IncomingMessage): Promise<{ readonly cents?: number; readonly target?: string }> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  const body: unknown = text === '' ? {} : JSON.parse(text);
  if (typeof body !== 'object' || body === null) return {};
  const members = new Map<string, unknown>(Object.entries(body));
  const cents = members.get('cents');
  const target = members.get('target');
  return {
    ...(typeof cents === 'number' && Number.isSafeInteger(cents) ? { cents } : {}),
    ...(typeof target === 'string' ? { target } : {}),
  };
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
