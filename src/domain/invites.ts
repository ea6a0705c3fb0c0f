/**
 * Invites: a list of one's own, sending, and the three ways in which a pending one is settled. Only the receiver accepts or
 * declines, only the sender cancels; what is settled or past its expiry stays as it is. Writes rows, never frames.
 */
import type { Sql } from "../db/client.ts";
import { TidingsError } from "../errors.ts";
import type { Invite } from "../protocol/frames.ts";
import { acting, answerOf, type Caller, reading } from "./caller.ts";
import { type Page, type PageQuery, pageOf } from "./page.ts";

export type InviteAction = "accept" | "decline" | "cancel";

export interface NewInvite {
  readonly receiverId: number;
  readonly game: string;
  /** Seconds until it expires; undefined: never. */
  readonly expiresIn?: number | undefined;
}

export interface Invites {
  /** Sent and received ones. `pending` leaves out what is past its expiry. */
  list(caller: Caller, query: PageQuery & { status?: Invite["status"] | undefined }): Promise<Page<Invite>>;
  /** @throws "invalid" for oneself or a user that does not exist. */
  send(caller: Caller, invite: NewInvite): Promise<Invite>;
  /** @throws "not_found", "forbidden" for the wrong side, "conflict" where it is no longer pending. */
  settle(caller: Caller, id: number, action: InviteAction): Promise<Invite>;
}

const SETTLED: Readonly<Record<InviteAction, Invite["status"]>> = {
  accept: "accepted",
  decline: "declined",
  cancel: "cancelled",
};

interface Settling {
  status: Invite["status"] | null;
  allowed: boolean | null;
  invite: Invite | null;
}

export function createInvites(sql: Sql): Invites {
  const open = sql`(i.expires_at is null or i.expires_at > clock_timestamp())`;
  return {
    async list(caller, { status, before, limit }) {
      const rows = await sql<{ item: Invite | null }[]>`
        with ${reading(sql, caller)}
        select case when i.id is not null then app.invite_json(i) end as item from me left join lateral (
          select * from app.invite i where (i.sender_id = me.id or i.receiver_id = me.id)
            ${status ? sql`and i.status = ${status}` : sql``} ${status === "pending" ? sql`and ${open}` : sql``}
            ${before === undefined ? sql`` : sql`and i.id < ${before}`}
          order by i.id desc limit ${limit + 1}
        ) i on true order by i.id desc`;
      return pageOf(rows, limit);
    },

    async send(caller, { receiverId, game, expiresIn }) {
      if (String(receiverId) === caller) throw new TidingsError("invalid", "receiver_id: you cannot invite yourself.");
      const rows = await sql<{ invite: Invite | null }[]>`
        with ${acting(sql, caller)}, made as (
          insert into app.invite (sender_id, receiver_id, game, expires_at)
          select me.id, u.id, ${game}, statement_timestamp() + make_interval(secs => ${expiresIn ?? null}::float8)
          from me join app."user" u on u.id = ${receiverId}
          returning *
        )
        select (select app.invite_json(m) from made m) as invite from me`;
      const { invite } = answerOf(rows);
      if (!invite) throw new TidingsError("invalid", `receiver_id: there is no user ${receiverId}.`);
      return invite;
    },

    async settle(caller, id, action) {
      const side = action === "cancel" ? sql`sender_id` : sql`receiver_id`;
      const rows = await sql<Settling[]>`
        with ${acting(sql, caller)}, found as materialized (
          select i.*, ${open} as open from me join app.invite i on me.id in (i.sender_id, i.receiver_id)
          where i.id = ${id} for update of i
        ), changed as (
          update app.invite i set status = ${SETTLED[action]} from found f, me
          where i.id = f.id and f.status = 'pending' and f.open and f.${side} = me.id
          returning i.*
        )
        select case when f.status = 'pending' and not f.open then 'expired' else f.status end as status,
          f.${side} = me.id as allowed, (select app.invite_json(c) from changed c) as invite
        from me left join found f on true`;
      const { status, allowed, invite } = answerOf(rows);
      if (status === null) throw new TidingsError("not_found", `You have no invite ${id}.`);
      if (!allowed) {
        const who = action === "cancel" ? "who sent it" : "who received it";
        throw new TidingsError("forbidden", `Only the one ${who} may ${action} an invite.`);
      }
      if (!invite) throw new TidingsError("conflict", `This invite is already ${status}.`);
      return invite;
    },
  };
}
