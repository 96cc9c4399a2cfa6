/** Something that cannot be done as it was said, with a sentence that says what to do instead. */
export class OperatorRefusal extends Error {
  override readonly name: string = 'OperatorRefusal';
  /** A value in the sentence that came from whoever is refused, where there is one. */
  readonly quoted: string | undefined;
  /** The field of a wish that was refused, where it is one alone: `accessTtlSeconds`. */
  readonly about: string | undefined;

  constructor(sentence: string, { quoted, about }: { readonly quoted?: string; readonly about?: string } = {}) {
    super(sentence);
    this.quoted = quoted;
    this.about = about;
  }
}

/** Runs a judgement of one field; its refusal is then about that field. */
export function judging<Result>(about: string, judge: () => Result): Result {
  try {
    return judge();
  } catch (error) {
    if (!(error instanceof OperatorRefusal)) throw error;
    throw new OperatorRefusal(error.message, {
      about,
      ...(error.quoted === undefined ? {} : { quoted: error.quoted }),
    });
  }
}

/** A field as JSON and the columns of an import have it: `access_ttl_seconds`. */
export function memberOf(field: string): string {
  return field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The refusal of a key whose `client_id` another key has. */
export class KeyExists extends OperatorRefusal {
  override readonly name = 'KeyExists';
}

/** The refusal of a change to a key that something else changed at the same moment. */
export class KeyChanged extends OperatorRefusal {
  override readonly name = 'KeyChanged';
}
