/** What the browser tests of a file start from: a database, a server on it, Chromium and a profile. */
import type { Page } from "playwright-core";
import type { Test } from "uvu";
import { database, type TestDatabase } from "../helpers/database.ts";
import { type Instance, type InstanceOptions, instance } from "../helpers/instance.ts";
import { type Chromium, type Profile, startChromium } from "./browser.ts";

export interface Visit {
  readonly db: TestDatabase;
  readonly server: Instance;
  readonly profile: Profile;
  /** A page of the server's own origin with nothing in it. */
  blank(): Promise<Page>;
  /** Down, something happens, and up again on the same port. */
  restart(meanwhile: () => Promise<void>): Promise<void>;
}

/** Registers the hooks of a file. @param profiles one for all its tests, or a fresh one for each */
export function visit<Context>(
  test: Test<Context>,
  profiles: "shared" | "fresh",
  options: InstanceOptions = {},
): Visit {
  let db: TestDatabase;
  let server: Instance;
  let chromium: Chromium | undefined;
  let profile: Profile;

  test.before(async () => {
    db = await database();
    [server, chromium] = await Promise.all([instance(db.url, options), startChromium()]);
    if (profiles === "shared") profile = await chromium.profile();
  });
  test.after(async () => {
    await chromium?.close();
    await server?.stop();
    await db?.drop();
  });
  if (profiles === "fresh") {
    test.before.each(async () => {
      profile = await chromium!.profile();
    });
    test.after.each(() => profile.close());
  }

  return {
    get db() {
      return db;
    },
    get server() {
      return server;
    },
    get profile() {
      return profile;
    },
    blank: () => profile.open(`${server.url}/healthz`),
    async restart(meanwhile) {
      const port = Number(new URL(server.url).port);
      await server.stop();
      await meanwhile();
      server = await instance(db.url, { ...options, config: { port } });
    },
  };
}
