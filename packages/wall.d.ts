/**
 * What a package across a wall looks like from this side: nothing. The packages agree through wire formats, and each
 * one's `paths` lead here for those that it must not know, so that an import across a wall does not compile.
 */
export type Wall = never;
