/**
 * A load balancer on 127.0.0.1: one address in front of several instances, since a guard knows one issuer. Connections go to
 * the instances in turn, and skip one that does not answer.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** Balances TCP connections. */
export class Balancer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #ports: readonly number[] = [];
  #next = 0;

  /** Starts one without instances yet: they need its address for their issuer setting. */
  static async start(): Promise<Balancer> {
    const balancer = new Balancer();
    balancer.#server.listen(0, '127.0.0.1');
    await once(balancer.#server, 'listening');
    return balancer;
  }

  private constructor() {
    this.#server = createServer((near) => this.#join(near, this.#ports.length));
  }

  get port(): number {
    const address = this.#server.address();
    assert(typeof address === 'object' && address !== null);
    return address.port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Sends new connections to these addresses. Open connections stay where they are. */
  leadTo(urls: readonly string[]): void {
    this.#ports = urls.map((url) => Number(new URL(url).port));
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(near: Socket, tries: number): void {
    const port = this.#ports[this.#next % this.#ports.length];
    this.#next += 1;
    if (port === undefined || tries === 0) {
      near.destroy();
      return;
    }
    const far = connect(port, '127.0.0.1');
    let isThere = false;
    this.#sockets.add(near).add(far);
    near.on('error', () => undefined).once('close', () => far.destroy());
    far.once('connect', () => {
      isThere = true;
      near.pipe(far).pipe(near);
    });
    far.on('error', () => undefined);
    far.once('close', () => {
      this.#sockets.delete(far);
      if (isThere || near.destroyed) near.destroy();
      else this.#join(near, tries - 1);
    });
    near.once('close', () => this.#sockets.delete(near));
  }
}
