/** Something that cannot be done as it was said, with a sentence that says what to do instead. */
export class OperatorRefusal extends Error {
  override readonly name: string = 'OperatorRefusal';
  /** A value in the sentence that came from whoever is refused, where there is one. */
  readonly quoted: string | undefined;

  constructor(sentence: string, { quoted }: { readonly quoted?: string } = {}) {
    super(sentence);
    this.quoted = quoted;
  }
}

/** The refusal of a key whose `client_id` another key has. */
export class KeyExists extends OperatorRefusal {
  override readonly name = 'KeyExists';
}

/** The refusal of a change to a key that something else changed at the same moment. */
export class KeyChanged extends OperatorRefusal {
  override readonly name = 'KeyChanged';
}
