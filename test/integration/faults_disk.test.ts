/**
 * The disk of the database full, for real: a Postgres on a small file system of its own, filled to the last block.
 * First tables cannot grow, which is an error of the writer; then the log cannot, which ends Postgres.
 */
// @alone
// @timeout 120
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { close, connect, type Sql } from "../../src/db/client.ts";
import { migrate } from "../../src/db/migrate.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, token } from "../helpers/instance.ts";
import { store } from "../helpers/streams.ts";
import { storedOf } from "../model/check.ts";
import { type Cluster, cluster } from "../model/cluster.ts";
import { type Scene, scene } from "../model/scene.ts";

const real = suite("disk");
/** A fresh database takes 60 MB of it. */
const SIZE = "160m";
/** Few segments of the log are kept, and nothing else writes. */
const FLAGS = ["max_wal_size=32MB", "min_wal_size=32MB", "autovacuum=off", "checkpoint_timeout=1d"];
const NO_SPACE = "53100";
const folder = mkdtempSync(join(tmpdir(), "tidings-disk-"));
const ballast = join(folder, "ballast");
const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${SIZE},mode=0711`, "tmpfs", folder]);
const test: (title: string, run: () => Promise<void>) => void =
  mounted.status === 0 ? real : (title) => real.skip(title, () => {});
if (mounted.status !== 0) {
  rmSync(folder, { recursive: true, force: true });
  console.log(
    `the disk full: skipped, nothing can be mounted here (${String(mounted.stderr ?? mounted.error).trim()})`,
  );
}

let postgres: Cluster;
let sql: Sql;
let scenery: Scene;

if (mounted.status === 0) {
  real.before(async () => {
    postgres = await cluster(FLAGS, folder);
    sql = connect(postgres.url, { max: 4, name: "test" });
    await migrate(sql, { domain: false });
    scenery = scene(sql);
  });
  real.after.each(() => scenery.clear());
  real.after(async () => {
    rmSync(ballast, { force: true });
    await close(sql, 1);
    await postgres?.stop();
    spawnSync("umount", ["-l", folder]);
    rmSync(folder, { recursive: true, force: true });
  });
}

/** Takes every block there is. */
function fill(): void {
  const fd = openSync(ballast, "a");
  try {
    for (const bytes of [1 << 20, 4_096]) {
      const block = Buffer.alloc(bytes, 1);
      try {
        while (writeSync(fd, block) > 0);
      } catch (error) {
        assert.is((error as { code?: string }).code, "ENOSPC");
      }
    }
  } finally {
    closeSync(fd);
  }
  assert.is(statfsSync(folder).bavail, 0);
}

/** As much as REST takes; random, so that nothing is compressed away. */
const big = (): string =>
  Array.from({ length: 500 }, () => Math.random().toString(36).slice(2))
    .join("")
    .slice(0, 3_900);

/** Publishes until the database has no more room. */
async function writeUntilFull(user: number): Promise<void> {
  for (let tries = 0; tries < 10_000; tries++) {
    try {
      await store(sql, user, { message: big() });
    } catch (error) {
      assert.is((error as { code?: string }).code, NO_SPACE);
      return;
    }
  }
  throw new Error("the disk never filled");
}

async function publish(app: Instance, user: number, message: string): Promise<Response> {
  const headers = {
    authorization: `Bearer ${await token(user, { scope: "publish" })}`,
    "content-type": "application/json",
  };
  return fetch(`${app.url}/api/publish`, { method: "POST", headers, body: JSON.stringify({ to: user, message }) });
}

test("tables cannot grow: writers get the error, readers and streams go on; with room again all is stored, without a hole", async () => {
  const app = await scenery.start(postgres.url);
  const { user, clients } = await scenery.follow(() => app.url);
  await store(sql, user);
  await scenery.reach(clients, 1, 5_000);
  await sql`checkpoint`;
  fill();
  await writeUntilFull(user);
  // what is left of the last pages
  const refused = await eventually(async () => {
    const answer = await publish(app, user, big());
    return answer.status === 202 ? null : answer;
  });
  assert.is(refused!.status, 503);
  assert.ok(Number(refused!.headers.get("retry-after")) > 0);
  const taken = (await storedOf(sql, user)).length;
  await scenery.reach(clients, taken, 15_000);
  const headers = await app.auth(user);
  assert.is((await fetch(`${app.url}/api/notifications`, { headers })).status, 200);
  assert.is((await fetch(`${app.url}/readyz`)).status, 200);
  rmSync(ballast);
  assert.is((await publish(app, user, big())).status, 202);
  await scenery.reach(clients, 1 + taken, 15_000);
  await scenery.untouched(user, clients);
});

test("the log cannot grow: Postgres ends, readiness says so, streams stay open; with room again nothing acknowledged is lost", async () => {
  const app = await scenery.start(postgres.url);
  const { user, clients } = await scenery.follow(() => app.url);
  let acknowledged = 0;
  await store(sql, user).then(() => acknowledged++);
  fill();
  await eventually(
    async () => {
      // small ones fit into pages that are there, and move the log on
      await store(sql, user).then(
        () => acknowledged++,
        () => {},
      );
      const written = await sql`select pg_logical_emit_message(false, 'test', repeat('x', 2000000))`.catch(() => null);
      assert.is(written, null);
      assert.is((await fetch(`${app.url}/readyz`)).status, 503);
    },
    { deadlineMs: 60_000 },
  );
  const { blockers } = (await (await fetch(`${app.url}/readyz`)).json()) as { blockers: string[] };
  assert.ok(blockers.includes("database"), `${blockers}`);
  assert.is((await publish(app, user, "no")).status, 503);
  assert.is((await fetch(`${app.url}/healthz`)).status, 200);
  rmSync(ballast);
  await postgres.restart();
  await eventually(() => store(sql, user).then(() => true), { deadlineMs: 15_000, everyMs: 100 });
  const stored = await storedOf(sql, user);
  assert.ok(stored.length > acknowledged, `${stored.length} of ${acknowledged} and one`);
  await scenery.reach(clients, stored.length, 30_000);
  await eventually(async () => assert.is((await fetch(`${app.url}/readyz`)).status, 200), { deadlineMs: 15_000 });
  await scenery.untouched(user, clients);
});

real.run();
