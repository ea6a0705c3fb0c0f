/** The embedded Postgres, with real binaries and real processes: what is killed here is really killed. */
import { spawn } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import type { Sql } from "postgres";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { findBinaries } from "../../src/embedded/binaries.ts";
import { type Embedded, startEmbedded } from "../../src/embedded/start.ts";
import {
  ask,
  child,
  children,
  cleanUp,
  finish,
  gone,
  linux,
  NOBODY,
  onPlatform,
  place,
  places,
  refusedBy,
  root,
  serverPid,
  supervisorOf,
  until,
} from "../helpers/embedded_processes.ts";

const test = suite("embedded postgres");
/** For what looks into /proc. */
const onLinux: typeof test | typeof test.skip = linux ? test : test.skip;

/** Most tests share one directory, with nothing running in it between them: each initdb costs half a second. */
const shared = place();

/** Starts again and finds every row up to the last acknowledged one. */
async function assertKept(dir: string, acknowledged: number): Promise<void> {
  const next = await startEmbedded({ dir });
  const count = (sql: Sql) => sql<{ n: number }[]>`select count(*)::int as n from written where n <= ${acknowledged}`;
  assert.is((await ask(next.url, count))[0]?.n, acknowledged);
  await next.stop();
}

test.after(cleanUp);

test("the first start makes a database with a password, logical WAL and 100 connections, and stop() ends the server", async () => {
  const dir = join(place(), "not", "there", "yet");
  const database = await startEmbedded({ dir, fast: true, flags: ["application_name=extra"] });
  assert.is(database.attached, false);
  assert.ok(database.dir.startsWith(dir));
  const settings = await ask(database.url, async (sql) => {
    const names = [
      "wal_level",
      "max_connections",
      "listen_addresses",
      "unix_socket_directories",
      "fsync",
      "lc_messages",
    ];
    const rows = await sql<
      { name: string; setting: string }[]
    >`select name, setting from pg_settings where name = any(${names})`;
    return Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
  });
  assert.equal(settings, {
    wal_level: "logical",
    max_connections: "100",
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    fsync: "off",
    lc_messages: "C",
  });
  const url = new URL(database.url);
  url.password = "wrong";
  const refused = await ask(url.href, (sql) => sql`select 1`).catch((error: { code?: string }) => error.code);
  assert.is(refused, "28P01", "another local user gets in only with the password");

  const pid = await serverPid(database.url);
  await Promise.all([database.stop(), database.stop()]);
  assert.ok(gone(pid), "stop() waits until the server has gone");
  await database.stop();
  const left = readdirSync(database.dir).filter((name) => /^(alive|closing|hold|init)/.test(name));
  assert.equal(left, [], "nothing is left lying about");
});

test("a second process attaches, the server outlives the first, ends with the last, and keeps its address", async () => {
  const dir = shared;
  const first = await child("hold", dir);
  assert.is(first.report.attached, false, first.report.error);
  const second = await startEmbedded({ dir });
  assert.is(second.attached, true);
  assert.is(second.url, first.report.url);
  const pid = await serverPid(second.url);

  first.process.kill("SIGKILL");
  await first.exited;
  await sleep(300);
  assert.is(await serverPid(second.url), pid, "the server is still the same one");

  const third = await startEmbedded({ dir });
  await second.stop();
  assert.is(await serverPid(third.url), pid, "stop() does not take the server from others");
  await third.stop();
  assert.ok(gone(pid));

  const again = await startEmbedded({ dir });
  assert.is(again.url, first.report.url);
  await again.stop();
});

test("kill -9 of the only owner takes the server down within seconds and loses no acknowledged row", async () => {
  const dir = shared;
  const writer = await child("write", dir);
  await until("50 acknowledged rows", () => writer.lines.length >= 50);
  const pid = await serverPid(writer.report.url);
  writer.process.kill("SIGKILL");
  await writer.exited;
  await until("the server to go", () => gone(pid), 4_000);

  await assertKept(dir, Number(writer.lines.at(-1)));
});

onLinux("kill -9 of the owner, the server and its supervisor at once loses no acknowledged row either", async () => {
  const dir = shared;
  const writer = await child("write", dir);
  await until("50 acknowledged rows", () => writer.lines.length >= 50);
  const pid = await serverPid(writer.report.url);
  const { shell } = supervisorOf(pid);
  for (const one of [writer.process.pid ?? 0, shell, pid]) process.kill(one, "SIGKILL");
  await writer.exited;

  await assertKept(dir, Number(writer.lines.at(-1)));
});

onLinux("a server whose supervisor and owner were killed is stopped and replaced by the next start", async () => {
  const dir = shared;
  const owner = await child("hold", dir);
  const pid = await serverPid(owner.report.url);
  const { shell, watcher } = supervisorOf(pid);
  for (const one of [shell, watcher, owner.process.pid ?? 0]) process.kill(one, "SIGKILL");
  await owner.exited;
  assert.not.ok(gone(pid), "the server is an orphan now");

  const said: string[] = [];
  const next = await startEmbedded({ dir, log: (text) => said.push(text) });
  assert.is(next.attached, false);
  assert.ok(gone(pid));
  assert.match(said.join(), /lost its supervisor/);
  await next.stop();
});

test("four first starts at once give one server", async () => {
  const dir = place();
  const all = await Promise.all([
    child("hold", dir),
    child("hold", dir),
    startEmbedded({ dir }),
    startEmbedded({ dir }),
  ]);
  const reports: Pick<Embedded, "url" | "attached">[] = all.map((one) => ("report" in one ? one.report : one));
  assert.is(reports.filter(({ attached }) => !attached).length, 1);
  assert.is(new Set(reports.map(({ url }) => url)).size, 1);
  const pid = await serverPid(reports[0]?.url ?? "");
  await Promise.all(all.map((one) => ("report" in one ? finish(one) : one.stop())));
  await until("the server to go", () => gone(pid));
});

test("who attaches in the very moment in which the last one leaves keeps the server", async () => {
  const slow = place();
  writeFileSync(join(slow, "mv"), '#!/bin/sh\nsleep 0.4\nPATH=/usr/bin:/bin exec mv "$@"\n'); // the supervisor's mv
  chmodSync(join(slow, "mv"), 0o755);
  const path = process.env.PATH;
  process.env.PATH = `${slow}:${path}`;
  const first = await startEmbedded({ dir: shared, fast: true }).finally(() => {
    process.env.PATH = path;
  });
  const pid = await serverPid(first.url);
  const stopping = first.stop();
  await sleep(100);
  const second = await startEmbedded({ dir: shared, fast: true });
  assert.is(second.attached, true);
  await stopping;
  await sleep(1_000);
  assert.is(await serverPid(second.url), pid, "the supervisor saw the newcomer");
  const third = await startEmbedded({ dir: shared, fast: true });
  assert.is(third.attached, true, "and the next ones find it");
  await Promise.all([second.stop(), third.stop()]);
  assert.ok(gone(pid));
});

test("starting while the last one stops always ends in a running server", async () => {
  const dir = shared;
  let current = await startEmbedded({ dir, fast: true });
  for (let round = 0; round < 12; round++) {
    const stopping = current.stop();
    await sleep(round % 4);
    current = await startEmbedded({ dir, fast: true });
    await stopping;
    assert.ok((await serverPid(current.url)) > 0);
  }
  await current.stop();
});

test("a stale postmaster.pid, of a dead process, of another program or cut short, is no obstacle", async () => {
  const dir = shared;
  const first = await startEmbedded({ dir, fast: true });
  await first.stop();
  const data = readdirSync(first.dir).find((name) => name.startsWith("data-")) ?? "";
  const file = join(first.dir, data, "postmaster.pid");
  const { uid, gid } = statSync(first.dir);
  const stranger = spawn("sleep", ["300"], root ? { uid, gid } : {}); // Postgres believes in a pid of its own user
  children.add(stranger);
  for (const pid of ["999999999", String(stranger.pid), ""]) {
    writeFileSync(file, pid && `${pid}\n${dirname(file)}\n1700000000\n5555\n\n127.0.0.1\n  1 2\nready\n`, {
      mode: 0o600,
    });
    chownSync(file, uid, gid);
    const next = await startEmbedded({ dir, fast: true });
    assert.is(next.attached, false, `with the pid ${pid}`);
    await next.stop();
  }
});

test("a platform without binaries is refused in one line that names DATABASE_URL", async () => {
  const dir = place();
  for (const [platform, arch] of [
    ["freebsd", "x64"],
    ["win32", "x64"],
    ["linux", "riscv64"],
  ] as const) {
    const error = await onPlatform(platform, arch, () => refusedBy(() => startEmbedded({ dir })));
    assert.is(error.code, "configuration");
    assert.match(error.message, `${platform}-${arch}`);
    assert.match(error.message, "DATABASE_URL");
    assert.not.match(error.message, "\n");
  }
  assert.ok((await findBinaries(null, () => {})).major, "here there are some");
});

test("a server that cannot start gives its own words, the log file and DATABASE_URL", async () => {
  const error = await refusedBy(() => startEmbedded({ dir: shared, fast: true, flags: ["work_mem=much"] }));
  assert.is(error.code, "configuration");
  assert.match(error.message, /work_mem.*server\.log.*DATABASE_URL/s);
});

test("a directory that is in use for something else gives an error that names DATABASE_URL", async () => {
  const dir = place();
  writeFileSync(join(dir, "file"), "");
  const error = await refusedBy(() => startEmbedded({ dir: join(dir, "file") }));
  assert.is(error.code, "configuration");
  assert.match(error.message, /DATABASE_URL/);
});

if (root) {
  test("an ordinary user runs it as themselves; root attaches to it, and does not take the files over", async () => {
    const dir = place(NOBODY);
    const user = await child("hold", dir, NOBODY);
    assert.is(user.report.error, undefined, user.complaints());
    const pid = await serverPid(user.report.url);
    assert.is(statSync(`/proc/${pid}`).uid, NOBODY);
    const other = await startEmbedded({ dir });
    assert.is(other.attached, true);
    await finish(user);
    await other.stop();
    assert.ok(gone(pid));

    const later = await startEmbedded({ dir });
    assert.is(statSync(`/proc/${await serverPid(later.url)}`).uid, NOBODY);
    await later.stop();
  });

  test("an ordinary user is told that the files are another's", async () => {
    const dir = shared;
    const database = await startEmbedded({ dir, fast: true });
    await database.stop();
    if (statSync(database.dir).uid === NOBODY) return; // this host has no account postgres
    const user = await child("hold", dir, NOBODY);
    assert.is(user.report.code, "configuration");
    assert.match(user.report.error ?? "", /another user.*DATABASE_URL/);
    await user.exited;
  });

  test("root below a closed directory gets the data elsewhere, and is told where", async () => {
    const closed = place();
    chmodSync(closed, 0o700);
    const dir = join(closed, "project");
    mkdirSync(dir);
    const said: string[] = [];
    const database = await startEmbedded({ dir, fast: true, log: (text) => said.push(text) });
    places.push(dirname(database.dir));
    assert.not.ok(database.dir.startsWith(dir));
    assert.match(said.join(), database.dir);
    assert.ok((await serverPid(database.url)) > 0);
    await database.stop();
  });
}

test.run();
