/**
 * The network between instances and their database, on 127.0.0.1. It can lead to another server, and it can fall silent like
 * a cut cable: nothing arrives, nobody notices, and what was sent arrives when it heals.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** Forwards TCP connections to one port. */
export class Forwarder {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #target: number;
  #isSilent = false;

  /** Starts one that forwards to this port. */
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

  /** The same address, through this forwarder. */
  through(url: string): string {
    const address = this.#server.address();
    assert(typeof address === 'object' && address !== null);
    const at = new URL(url);
    at.port = String(address.port);
    return at.href;
  }

  /** Forwards to another port from now on, and cuts the open connections. */
  leadTo(target: number): void {
    this.#target = target;
    this.#cutOff();
  }

  /** Stops letting anything through. */
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
        // While the network is cut, neither side notices that the other is gone.
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
