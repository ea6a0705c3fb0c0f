/** What the tests of e-mail share: a database whose users 'u1', 'u2' … have addresses, mailers on it, and its rows. */
import type { Sql } from "../../src/db/client.ts";
import { createMailer, type Mailer, type MailerOptions } from "../../src/worker/mail.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { type MailServer, mailServer } from "./mail_server.ts";

const CONTACT = `create or replace function tidings.contact_of(user_id text) returns text language sql stable
  return case when user_id ~ '^u\\d+$' then user_id || '@example.com' end`;

export const KEY = "a key for unsubscribe links";

export interface MailScene {
  readonly db: TestDatabase;
  readonly sql: Sql;
  readonly server: MailServer;
  readonly results: string[];
  readonly warnings: Record<string, unknown>[];
  /** A started mailer, stopped by `reset`. No delay, quick retries, unless told otherwise. */
  mailer(options?: Partial<MailerOptions>): Mailer;
  /** Stores notifications of type "note" for the user, who wants them mailed. */
  notify(user: string, ...messages: string[]): Promise<void>;
  /** `id:state` of a user's mails. */
  states(user: string): Promise<string[]>;
  row(user: string, id?: number): Promise<Record<string, unknown>>;
  reset(): Promise<void>;
  end(): Promise<void>;
}

export async function mailScene(): Promise<MailScene> {
  const db = await database({ domain: false });
  const { sql } = db;
  const server = await mailServer();
  const results: string[] = [];
  const warnings: Record<string, unknown>[] = [];
  let running: Mailer[] = [];
  const scene: MailScene = {
    db,
    sql,
    server,
    results,
    warnings,
    mailer(options = {}) {
      const mailer = createMailer({
        sql,
        smtpUrl: server.url,
        from: "Tidings <no-reply@example.org>",
        delaySeconds: 0,
        baseUrl: "https://app.example.org",
        unsubscribeKey: KEY,
        log: { warn: (fields) => warnings.push(fields as Record<string, unknown>) },
        observe: (result) => results.push(result),
        ...options,
        timing: { retryMs: 100, ...options.timing },
      });
      running.push(mailer);
      mailer.start();
      return mailer;
    },
    async notify(user, ...messages) {
      await sql`insert into tidings.preference (user_id, type, email) values (${user}, 'note', true)
        on conflict on constraint preference_pkey do update set email = true`;
      for (const message of messages) await sql`select tidings.send_notification(${user}, 'Note', ${message}, 'note')`;
    },
    async states(user) {
      const rows = await sql`select id, state from tidings.email where user_id = ${user} order by id`;
      return rows.map(({ id, state }) => `${id}:${state}`);
    },
    async row(user, id = 1) {
      const [row] = await sql`select * from tidings.email where user_id = ${user} and id = ${id}`;
      return row!;
    },
    async reset() {
      await Promise.all(running.map((mailer) => mailer.stop()));
      running = [];
      server.reset();
      results.length = 0;
      warnings.length = 0;
      await sql.unsafe(CONTACT);
      await sql`truncate tidings.email, tidings.notification, tidings.inbox, tidings.preference, tidings.email_delay`;
    },
    async end() {
      await scene.reset();
      await server.close();
      await db.drop();
    },
  };
  await sql.unsafe(CONTACT);
  return scene;
}
