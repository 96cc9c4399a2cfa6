/** The revocation feed of the issuer in memory: event streams that know when they have been read (contract §9 Feed). */
import { utf8, type Revocation, type RevocationEntry } from '@hallpass/protocol';
import { startTimer } from '../runtime.ts';

const HEARTBEAT_MS = 1_000;

export class TestFeeds {
  readonly #entries: RevocationEntry[] = [];
  readonly #told: string[] = [];
  readonly #open = new Set<TestFeed>();

  /** Resolves when every feed that is open has been read to here. */
  async tell(revocation: Revocation): Promise<void> {
    const cursor = `c${this.#told.length + 1}`;
    const entry = { cursor, ...revocation };
    this.#entries.push(entry);
    this.#told.push(`event: revocation\nid: ${cursor}\ndata: ${JSON.stringify(entry)}\n\n`);
    await Promise.all([...this.#open].map((feed) => feed.catchUp()));
  }

  /** From the beginning, whatever the cursor: an entry that comes twice does no harm. */
  open(signal: AbortSignal): Response {
    const feed = new TestFeed(this.#told, () => this.#open.delete(feed));
    this.#open.add(feed);
    signal.addEventListener('abort', () => feed.cut());
    return new Response(feed.stream, { headers: { 'content-type': 'text/event-stream' } });
  }

  /** Everything, whatever the cursor. */
  page(): object {
    return { entries: this.#entries, cursor: `c${this.#entries.length}`, more: false };
  }

  cut(): void {
    for (const feed of this.#open) feed.cut();
  }
}

class TestFeed {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #told: readonly string[];
  readonly #forget: () => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #sent = 0;
  #greeted = false;
  #wake = (): void => {};
  #caughtUp: (() => void)[] = [];
  #over = false;

  constructor(told: readonly string[], forget: () => void) {
    this.#told = told;
    this.#forget = forget;
    // Nothing is made before it is asked for: who asks for more has dealt with what there was.
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: (controller) => this.#pull(controller),
        cancel: () => this.#end(),
      },
      { highWaterMark: 0 },
    );
  }

  /** Resolves when all that was told has been dealt with, or the feed is over. */
  catchUp(): Promise<void> {
    if (this.#over) return Promise.resolve();
    return new Promise((resolve) => {
      this.#caughtUp.push(resolve);
      this.#wake();
    });
  }

  cut(): void {
    if (!this.#over) this.#controller?.error(new TypeError('The feed was cut.'));
    this.#end();
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    // The first answer says that this is all, even when there is nothing.
    if (this.#greeted && this.#sent === this.#told.length) {
      for (const resolve of this.#caughtUp.splice(0)) resolve();
      await this.#nextWord();
    }
    this.#greeted = true;
    if (this.#over) return;
    const entries = this.#told.slice(this.#sent);
    this.#sent += entries.length;
    controller.enqueue(utf8(`${entries.join('')}event: heartbeat\nid: c${this.#sent}\ndata: {}\n\n`));
  }

  /** Until there is something to tell, or it is time for a heartbeat. */
  #nextWord(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = startTimer(HEARTBEAT_MS, () => this.#wake());
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  #end(): void {
    this.#over = true;
    this.#forget();
    this.#wake();
    for (const resolve of this.#caughtUp.splice(0)) resolve();
  }
}
