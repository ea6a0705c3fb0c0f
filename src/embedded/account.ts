/**
 * Which user Postgres runs as. Postgres refuses root, so root steps down to an account that is already there:
 * nothing is added to the host. Everybody else runs it as themselves.
 */
import { readFileSync } from "node:fs";
import { refusal } from "./refusal.ts";

/** A line of /etc/passwd. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

function accounts(): Account[] {
  return readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"))
    .filter((fields) => fields.length >= 4)
    .map(([name, , uid, gid]) => ({ name: String(name), uid: Number(uid), gid: Number(gid) }))
    .filter(({ uid, gid }) => uid > 0 && gid >= 0);
}

/**
 * The account for a root process: the owner of the files where they have one (another uid could not open them),
 * else `postgres`, else `nobody`.
 * @param owner uid of the directory of the server; 0 when it is new
 * @throws TidingsError `configuration` when there is no such account
 */
export function accountFor(owner: number): Account {
  const known = accounts();
  const found =
    owner === 0
      ? (known.find(({ name }) => name === "postgres") ?? known.find(({ name }) => name === "nobody"))
      : known.find(({ uid }) => uid === owner);
  if (found) return found;
  // initdb and postgres look their own uid up and give up without a line in /etc/passwd.
  throw refusal(
    owner === 0
      ? "Running as root, which Postgres refuses, and there is neither an account postgres nor nobody to run it as"
      : `The embedded database belongs to uid ${owner}, which has no account here: remove its directory, or add the account`,
  );
}
