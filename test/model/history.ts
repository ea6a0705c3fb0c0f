/**
 * One history from its first step to the verdict: carries out a plan against running instances, then mends all that is
 * broken, waits until every client stands at the newest entry, and judges.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Sql } from "../../src/db/client.ts";
import { token } from "../helpers/instance.ts";
import { checkFollower, checkInbox, checkStored, checkWhole, type Sequence, storedOf } from "./check.ts";
import { type Follower, follower } from "./follower.ts";
import type { Plan, Step } from "./plan.ts";
import type { World } from "./world.ts";
import { writer } from "./writer.ts";

export interface Verdict {
  readonly wrong: readonly string[];
  readonly entries: number;
  readonly frames: number;
  readonly connections: number;
}

/** How long the clients may take to stand at the newest entry once nothing is broken any more. */
const SETTLE_MS = 30_000;

export async function runHistory(world: World, { users, steps }: Plan): Promise<Verdict> {
  const tokens = new Map<number, Record<string, string>>();
  for (const user of users) tokens.set(user, { authorization: `Bearer ${await token(user)}` });
  const clients: Follower[] = [];
  const writing = writer(world.url);
  const requests: Promise<void>[] = [];
  let picks = 0;

  const pick = (): string | undefined => {
    const urls = world.fleet.urls();
    return urls[picks++ % urls.length];
  };
  const connect = (user: number, transport: "ws" | "sse", from: number | null): void =>
    void clients.push(follower({ user, transport, from, headers: tokens.get(user)!, pick }));
  /** What becomes of it is not known when an instance or the database is away: the counts have to agree all the same. */
  const ask = (user: number, method: string, path: string, body?: object): void => {
    const url = pick();
    if (!url) return;
    const headers = { ...tokens.get(user), "content-type": "application/json" };
    const asking = fetch(url + path, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
    requests.push(asking.then((answer) => answer.text()).then(undefined, () => undefined) as Promise<void>);
  };
  const newest = (user: number): number =>
    Math.max(0, ...clients.filter((c) => c.user === user).map((c) => c.cursor ?? 0));

  function clientStep(step: Step & { client: number }): void {
    const client = clients[step.client]!;
    if (step.kind === "drop") client.drop();
    else if (step.kind === "rewind") client.rewind(step.by);
    else if (step.kind === "duplicate") connect(client.user, client.transport === "ws" ? "sse" : "ws", client.cursor);
    else if (step.kind === "pause") {
      client.pause();
      setTimeout(client.resume, step.ms);
    }
  }

  async function take(step: Step): Promise<void> {
    if (step.kind === "publish") writing.publish(step.transaction);
    else if (step.kind === "transient") writing.transient(step.user, step.size);
    else if (step.kind === "connect") connect(step.user, step.transport, step.from);
    else if ("client" in step) clientStep(step);
    else if (step.kind === "read_all") ask(step.user, "POST", "/api/notifications/read_all", {});
    else if (step.kind === "rest") {
      const path = `/api/notifications/${newest(step.user) - step.back}`;
      if (step.act === "delete") ask(step.user, "DELETE", path);
      else ask(step.user, "POST", `${path}/${step.act}`);
    } else await world.harm(step);
  }

  try {
    for (const { afterMs, step } of steps) {
      if (afterMs > 0) await sleep(afterMs);
      await take(step);
    }
    await Promise.all([writing.settled(), ...requests]);
    await world.mend();
    return await judge();
  } finally {
    for (const client of clients) client.stop();
    await writing.stop();
  }

  async function judge(): Promise<Verdict> {
    const { sql } = world;
    const stored = new Map<number, Sequence>();
    for (const user of users) stored.set(user, await storedOf(sql, user));
    for (const client of clients) client.resume();
    const late = clients.filter(({ user, cursor }) => cursor !== stored.get(user)!.length);
    const deadline = Date.now() + SETTLE_MS;
    while (late.some(({ user, cursor }) => cursor !== stored.get(user)!.length) && Date.now() < deadline)
      await sleep(20);
    // what would come twice, comes now
    await sleep(100);
    const wrong = [
      ...checkWhole(stored, writing.fates),
      ...users.flatMap((user) => checkStored(user, stored.get(user)!, writing.fates)),
      ...clients.flatMap((client) => checkFollower(client, stored.get(client.user)!)),
      ...(await leftovers(sql)),
    ];
    const url = pick()!;
    for (const user of users) {
      const headers = tokens.get(user)!;
      const rest = async (path: string): Promise<Record<string, unknown>> => {
        const answer = await fetch(url + path, { headers });
        return (await answer.json()) as Record<string, unknown>;
      };
      wrong.push(...(await checkInbox(sql, user, stored.get(user)!, rest)));
    }
    const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
    return {
      wrong,
      entries: sum([...stored.values()].map((sequence) => sequence.length)),
      frames: sum(clients.map((client) => client.received.length)),
      connections: sum(clients.map((client) => client.connections)),
    };
  }
}

/** Nothing staged outlives its transaction; what writers left for the relay is announced in the end. */
async function leftovers(sql: Sql): Promise<string[]> {
  const count = async (): Promise<{ staged: number; waiting: number }> => {
    const [row] = await sql<{ staged: number; waiting: number }[]>`
      select (select count(*)::int from tidings.outbox) as staged, (select count(*)::int from tidings.unannounced) as waiting`;
    return row!;
  };
  let left = await count();
  for (const deadline = Date.now() + SETTLE_MS; left.waiting > 0 && Date.now() < deadline; left = await count())
    await sleep(50);
  return [
    ...(left.staged > 0 ? [`${left.staged} rows are left in the outbox`] : []),
    ...(left.waiting > 0 ? [`${left.waiting} envelopes were never announced`] : []),
  ];
}
