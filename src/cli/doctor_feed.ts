/** Checks of what FEED asks for beyond LISTEN: the right to read the WAL, a bus that answers. */
import { openBus } from "../bus/bus.ts";
import { PUBLISH } from "../db/wal.ts";
import { atMost } from "../deadline.ts";
import { describe } from "../errors.ts";
import type { Check, Finding } from "./doctor.ts";

const BUS_MS = 5_000;

const ok = (text: string): Finding => ({ state: "ok", text });

export const feed: Check = async (patient) => {
  const { config } = patient.database;
  if (config.feed === "wal") return wal(patient);
  if (config.feed === "notify") return ok("FEED is notify: nothing more is needed");
  const bus = await busAnswers(config.busUrl!);
  if (bus.state !== "ok") return bus;
  const source = await wal(patient);
  return ok(`${bus.text}; its relay reads ${source.state === "ok" ? "the WAL" : `NOTIFY (${source.text})`}`);
};

const wal: Check = async ({ sql, database }) => {
  const [row] = await sql<
    Record<"level" | "role", string>[] & Record<"may" | "published", boolean>[] & { free: number }[]
  >`
    select current_setting('wal_level') as level, current_user::text as role,
      (select rolreplication or rolsuper from pg_roles where rolname = current_user) as may,
      exists (select from pg_publication where pubname = 'tidings') as published,
      least(current_setting('max_replication_slots')::int - (select count(*)::int from pg_replication_slots),
        current_setting('max_wal_senders')::int - (select count(*)::int from pg_stat_replication)) as free`;
  const { level, role, may, published, free } = row!;
  const fail = (text: string, mend: string): Finding => ({ state: "fail", text, mend });
  if (level !== "logical") {
    return fail(`wal_level is ${level}`, "alter system set wal_level = logical; then restart Postgres");
  }
  if (!may) return fail(`the role ${role} may not read the WAL`, `alter role "${role}" replication`);
  if (!published) {
    const isOwner = database.embedded || (await ownsTable(sql));
    if (!isOwner) return fail("the publication tidings is missing", `as the role that migrates: ${PUBLISH}`);
  }
  if (free < 1) {
    return fail(
      "no replication slot or WAL sender is free",
      "raise max_replication_slots and max_wal_senders: one for each instance",
    );
  }
  return ok(`the WAL can be read; ${free} more instances may (slots and WAL senders)`);
};

async function ownsTable(sql: Parameters<Check>[0]["sql"]): Promise<boolean> {
  const [row] = await sql<{ owns: boolean }[]>`
    select pg_has_role(relowner, 'usage') as owns from pg_class where oid = 'tidings.notification'::regclass`;
  return row!.owns;
}

async function busAnswers(url: string): Promise<Finding> {
  const fail = (text: string): Finding => ({ state: "fail", text, mend: "check BUS_URL, and that the engine runs" });
  const bus = openBus({ url, prefix: "tidings-doctor", onMessage() {}, onUp() {}, onDown() {} });
  let reason = "it does not answer";
  try {
    await atMost(
      BUS_MS,
      bus.start().catch((error: unknown) => {
        reason = describe(error);
      }),
    );
    return bus.up ? ok("the bus answers") : fail(`the bus cannot be used: ${reason}`);
  } finally {
    await bus.stop();
  }
}
