/** Checks of what is stored: counters against a recount, leftovers of commits, watches, e-mail. */
import type { Check, Patient } from "./doctor.ts";

const BATCH = 500;
/** Users named in a finding. */
const SHOWN = 5;

interface Wrong {
  user_id: string;
  last_id: number | null;
  unread_count: number | null;
  floor_id: number | null;
  true_last_id: number;
  true_unread_count: number;
  true_floor_id: number;
}

interface Batch {
  checked: number;
  last_user: string | null;
  wrong: Wrong[] | null;
}

async function compareAll({ sql, progress }: Patient): Promise<{ checked: number; wrong: Wrong[] }> {
  const wrong: Wrong[] = [];
  let checked = 0;
  for (let after = ""; ; ) {
    const [batch] = await sql<Batch[]>`select * from tidings.inbox_drift(${after}::text, ${BATCH}::int)`;
    checked += batch!.checked;
    wrong.push(...(batch!.wrong ?? []));
    if (batch!.last_user === null) return { checked, wrong };
    after = batch!.last_user;
    progress(`counting: ${checked} inboxes`);
  }
}

function difference(one: Wrong): string {
  const parts = [
    one.last_id === null && "no inbox row",
    one.unread_count !== one.true_unread_count &&
      `unread ${one.unread_count ?? "none"}, counted ${one.true_unread_count}`,
    one.last_id !== one.true_last_id && `last id ${one.last_id ?? "none"}, newest ${one.true_last_id}`,
    one.floor_id !== null && one.floor_id !== one.true_floor_id && `a hole at ${one.true_floor_id}`,
  ];
  return `user ${one.user_id} (${parts.filter(Boolean).join("; ")})`;
}

export const counters: Check = async (patient) => {
  const { checked, wrong } = await compareAll(patient);
  if (wrong.length === 0) return { state: "ok", text: `${checked} inboxes agree with a recount` };
  const more = wrong.length > SHOWN ? `, and ${wrong.length - SHOWN} more` : "";
  const text = `${wrong.length} of ${checked} inboxes are wrong: ${wrong.slice(0, SHOWN).map(difference).join(", ")}${more}`;
  if (!patient.fix) return { state: "fail", text, mend: "tidings doctor --fix" };
  for (const [at, { user_id }] of wrong.entries()) {
    await patient.sql`select tidings.recount(${user_id}::text)`;
    patient.progress(`recounting: ${at + 1} of ${wrong.length}`);
  }
  const left = (await compareAll(patient)).wrong.length;
  if (left > 0)
    return { state: "fail", text: `${left} inboxes are wrong again after a recount: look for who writes them` };
  return { state: "fixed", text };
};

export const leftovers: Check = async ({ sql, fix }) => {
  const [row] = await sql<{ many: number }[]>`select tidings.stranded() as many`;
  const many = row!.many;
  if (many === 0) return { state: "ok", text: "no staged row was left behind" };
  const text = `${many} staged rows were never numbered (was data restored, or a trigger switched off?)`;
  if (!fix) return { state: "fail", text, mend: "tidings doctor --fix numbers them now" };
  await sql`select tidings.restage()`;
  return { state: "fixed", text };
};

export const watches: Check = async ({ sql }) => {
  const rows = await sql<{ name: string; state: string }[]>`select name, state from tidings.watches`;
  const broken = rows.filter(({ state }) => state !== "active");
  if (broken.length === 0) return { state: "ok", text: `${rows.length} watches, all active` };
  const text = broken.map(({ name, state }) => `${name} is ${state}`).join("; ");
  return { state: "warn", text, mend: "tidings watch list" };
};

export const emails: Check = async ({ sql, database }) => {
  const rows = await sql<{ state: string; many: number }[]>`
    select state, count(*)::int as many from tidings.email where state in ('pending', 'dead', 'unknown') group by state`;
  const count = (state: string): number => rows.find((row) => row.state === state)?.many ?? 0;
  const [pending, dead, unknown] = [count("pending"), count("dead"), count("unknown")];
  const text = `${pending} waiting, ${dead} dead, ${unknown} of unknown fate`;
  if (dead + unknown > 0)
    return { state: "warn", text, mend: "tidings email list --state dead (or unknown), then tidings email retry" };
  if (pending > 0 && !database.config.smtpUrl) {
    return { state: "warn", text, mend: "set SMTP_URL (and MAIL_FROM) for the server, so that they are sent" };
  }
  return { state: "ok", text };
};
