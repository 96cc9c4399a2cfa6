/** The test issuer's revocation feed: event streams that know when they have been read (contract §9 Feed). */
import { utf8, type Revocation, type RevocationEntry } from '@hallpass/protocol';
import { startTimer } from '../runtime.ts';

const HEARTBEAT_MS = 1_000;

/** All feeds of a test issuer. */
export class TestFeeds {
  readonly #entries: RevocationEntry[] = [];
  readonly #messages: string[] = [];
  readonly #open = new Set<TestFeed>();

  /** Resolves when every open feed has been read up to here. */
  async publish(revocation: Revocation): Promise<void> {
    const cursor = `c${this.#messages.length + 1}`;
    const entry = { cursor, ...revocation };
    this.#entries.push(entry);
    this.#messages.push(`event: revocation\nid: ${cursor}\ndata: ${JSON.stringify(entry)}\n\n`);
    await Promise.all([...this.#open].map((feed) => feed.catchUp()));
  }

  /** Starts from the beginning, whatever the cursor: receiving an entry twice does no harm. */
  open(signal: AbortSignal): Response {
    const feed = new TestFeed(this.#messages, () => this.#open.delete(feed));
    this.#open.add(feed);
    signal.addEventListener('abort', () => feed.cut());
    return new Response(feed.stream, { headers: { 'content-type': 'text/event-stream' } });
  }

  /** All entries, whatever the cursor. */
  page(): object {
    return { entries: this.#entries, cursor: `c${this.#entries.length}`, more: false };
  }

  cut(): void {
    for (const feed of this.#open) feed.cut();
  }
}

class TestFeed {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #messages: readonly string[];
  readonly #forget: () => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #sent = 0;
  #hasSentFirst = false;
  #wake = (): void => {};
  #caughtUp: (() => void)[] = [];
  #hasEnded = false;

  constructor(messages: readonly string[], forget: () => void) {
    this.#messages = messages;
    this.#forget = forget;
    // Nothing is produced before it's requested: a reader that asks for more has processed what it got.
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

  /** Resolves when everything published has been processed, or the feed has ended. */
  catchUp(): Promise<void> {
    if (this.#hasEnded) return Promise.resolve();
    return new Promise((resolve) => {
      this.#caughtUp.push(resolve);
      this.#wake();
    });
  }

  cut(): void {
    if (!this.#hasEnded) this.#controller?.error(new TypeError('The feed was cut.'));
    this.#end();
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    // The first chunk says that this is everything, even if there's nothing.
    if (this.#hasSentFirst && this.#sent === this.#messages.length) {
      for (const resolve of this.#caughtUp.splice(0)) resolve();
      await this.#waitForEntry();
    }
    this.#hasSentFirst = true;
    if (this.#hasEnded) return;
    const entries = this.#messages.slice(this.#sent);
    this.#sent += entries.length;
    controller.enqueue(utf8(`${entries.join('')}event: heartbeat\nid: c${this.#sent}\ndata: {}\n\n`));
  }

  /** Until there's an entry to send, or a heartbeat is due. */
  #waitForEntry(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = startTimer(HEARTBEAT_MS, () => this.#wake());
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  #end(): void {
    this.#hasEnded = true;
    this.#forget();
    this.#wake();
    for (const resolve of this.#caughtUp.splice(0)) resolve();
  }
}
