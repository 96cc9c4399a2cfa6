/**
 * The network between the instances and their database, on 127.0.0.1: it leads to whichever server it is told to, and
 * can fall silent, as a network that was cut: nothing arrives, nobody is told, and what was sent arrives when it heals.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

export class Forwarder {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #target: number;
  #isSilent = false;

  /** Starts one that leads to this port. */
  static async start(target: number): Promise<Forwarder> {
    const forwarder = new Forwarder(target);
    forwarder.#server.listen(0, '127.0.0.1');
    await once(forwarder.#server, 'listening');
    return forwarder;
  }

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((near) => this.#join(near));
  }

  /** The same address, by way of this forwarder. */
  through(url: string): string {
    const address = this.#server.address();
    assert(typeof address === 'object' && address !== null);
    const at = new URL(url);
    at.port = String(address.port);
    return at.href;
  }

  /** Leads elsewhere from now on; whoever is connected is cut off. */
  leadTo(target: number): void {
    this.#target = target;
    this.#cutOff();
  }

  /** Lets nothing through any more. */
  silence(): void {
    this.#isSilent = true;
    for (const socket of [...this.#pairs].flat()) socket.pause();
  }

  /** Lets everything through again. */
  heal(): void {
    this.#isSilent = false;
    for (const pair of this.#pairs) {
      if (pair.some((socket) => socket.closed)) end(pair);
      else for (const socket of pair) socket.resume();
    }
  }

  close(): void {
    this.#server.close();
    this.#cutOff();
  }

  #join(near: Socket): void {
    const far = connect(this.#target, '127.0.0.1');
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    near.on('data', (bytes: Buffer) => far.write(bytes));
    far.on('data', (bytes: Buffer) => near.write(bytes));
    for (const socket of pair) {
      socket.on('error', () => undefined);
      socket.on('close', () => {
        // Behind a cut nobody hears that the other has gone.
        if (this.#isSilent) return;
        end(pair);
        this.#pairs.delete(pair);
      });
      if (this.#isSilent) socket.pause();
    }
  }

  #cutOff(): void {
    for (const pair of this.#pairs) end(pair);
    this.#pairs.clear();
  }
}

function end(pair: readonly [Socket, Socket]): void {
  for (const socket of pair) socket.destroy();
}
