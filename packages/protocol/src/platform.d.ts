/**
 * The two globals this package uses. Every runtime it supports has them (Node, browsers, Deno, Bun, workers); neither
 * is part of the ECMAScript library, and taking the DOM's or Node's types to get them would let the rest of both in.
 */
declare class TextEncoder {
  encode(text: string): Uint8Array;
}
declare class TextDecoder {
  constructor(label: 'utf-8', options: { readonly fatal: true; readonly ignoreBOM: true });
  decode(bytes: Uint8Array): string;
}
