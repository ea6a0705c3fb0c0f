/** The row that everybody here writes and waits for: its number says whose it is, so that a frame gone astray shows. */

/** The user, from 1 to `users`, whom row `n` is for. Scattered: neighbours in time are different users. */
export function userOf(n: number, users: number): number {
  return ((Math.imul(n, 0x9e3779b1) >>> 0) % users) + 1;
}

/** The same in SQL: of a bigint column `n`, and a parameter for `users`. */
export const userOfSql = (users: string): string => `n * ${0x9e3779b1} % ${2 ** 32} % ${users} + 1`;

/** What is sent of row `n` by those who build their messages themselves: a notification frame as Tidings sends it. */
export function frameOf(n: number): object {
  const created_at = new Date().toISOString().replace("Z", "000Z");
  const names = { title: "A row", message: `Row ${n} was written`, notification_type: "row" };
  const more = { is_read: false, created_at, timestamp: created_at };
  return { type: "notification", id: n, data: { id: n, notification_id: n, ...names, ...more, data: { n }, n } };
}

/** The number of the row in a frame's text; -1 where it holds none. */
export function numberIn(frame: Buffer): number {
  let at = frame.indexOf('"n":');
  if (at < 0) return -1;
  at += 4;
  if (frame[at] === 32) at++;
  let n = 0;
  for (let digit = frame[at]! - 48; digit >= 0 && digit <= 9; digit = frame[++at]! - 48) n = n * 10 + digit;
  return n;
}
