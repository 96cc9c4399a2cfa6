/** A setting is unknown, missing or invalid. The message is a sentence for the operator; a command exits with code 2. */
export class BadSetting extends Error {
  override readonly name = 'BadSetting';
}
