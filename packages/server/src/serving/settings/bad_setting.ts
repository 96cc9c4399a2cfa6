/** A setting that is unknown, missing or bad, in one clear sentence. The command ends with exit code 2. */
export class BadSetting extends Error {
  override readonly name = 'BadSetting';
}
