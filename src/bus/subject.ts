/**
 * What a group is called on an engine: the deployment's prefix and the group, in a way that no two groups and no two
 * deployments share a name. A user's id may be any text.
 */

/** For engines whose names may hold any character. A prefix has no colon, so the first one ends it. */
export function channelOf(prefix: string, group: string): string {
  return `${prefix}:${group.toWellFormed()}`;
}

/**
 * For NATS, where white space, `.`, `*` and `>` mean something: all but letters, digits, `_`, `-` and `!~'()` is written
 * as the %-code of its bytes. It holds no dot, so the last dot ends the prefix.
 */
export function subjectOf(prefix: string, group: string): string {
  const coded = encodeURIComponent(group.toWellFormed()).replace(/[.*]/g, (char) => (char === "." ? "%2E" : "%2A"));
  return `${prefix}.${coded}`;
}
