/** What tests that do damage share: instances on one Postgres, users who follow their streams, and what they must have got. */
import * as assert from "uvu/assert";
import type { Sql } from "../../src/db/client.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, type InstanceOptions, instance, token } from "../helpers/instance.ts";
import { checkFollower, storedOf } from "./check.ts";
import { type Follower, follower } from "./follower.ts";

export interface Scene {
  /** An instance without the reference domain, stopped by `clear`. */
  start(databaseUrl: string, options?: InstanceOptions): Promise<Instance>;
  /** A new user with one stream on each transport, both ready. */
  follow(pick: () => string | undefined): Promise<{ user: number; clients: Follower[] }>;
  /** Waits until all stand at this id; with the milliseconds it took. */
  reach(clients: readonly Follower[], id: number, deadlineMs: number): Promise<number>;
  /** Everything once and in order, each on the one connection it was opened with. */
  untouched(user: number, clients: readonly Follower[]): Promise<void>;
  clear(): Promise<void>;
}

/** @param sql to look into the database with */
export function scene(sql: Sql): Scene {
  const followers: Follower[] = [];
  const instances: Instance[] = [];
  let users = 0;
  return {
    async start(databaseUrl, options = {}) {
      const started = await instance(databaseUrl, { ...options, env: { DOMAIN: "off", ...options.env } });
      instances.push(started);
      return started;
    },
    async follow(pick) {
      const user = ++users;
      const headers = { authorization: `Bearer ${await token(user)}` };
      const clients = (["ws", "sse"] as const).map((transport) =>
        follower({ user, transport, from: 0, headers, pick }),
      );
      followers.push(...clients);
      await eventually(() => clients.every((client) => client.ready), { deadlineMs: 15_000 });
      return { user, clients };
    },
    async reach(clients, id, deadlineMs) {
      const began = performance.now();
      await eventually(
        () =>
          assert.equal(
            clients.map(({ cursor }) => cursor),
            clients.map(() => id),
          ),
        { deadlineMs },
      );
      return Math.round(performance.now() - began);
    },
    async untouched(user, clients) {
      const stored = await storedOf(sql, user);
      assert.equal(
        clients.flatMap((client) => checkFollower(client, stored)),
        [],
      );
      assert.equal(
        clients.map((client) => client.connections),
        clients.map(() => 1),
      );
    },
    async clear() {
      for (const one of followers.splice(0)) one.stop();
      await Promise.all(instances.splice(0).map((one) => one.stop()));
    },
  };
}
