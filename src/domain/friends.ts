/**
 * Friends: who they are and who of them is online, requests, and their answers. Only the addressee answers a request, once.
 * Two users have at most one pending or accepted friendship, whoever asked. Writes rows, never frames.
 */
import type { Sql } from "../db/client.ts";
import { TidingsError } from "../errors.ts";
import type { Timestamp, UserRef } from "../protocol/frames.ts";
import { acting, answerOf, type Caller, reading } from "./caller.ts";
import { type Page, type PageQuery, pageOf } from "./page.ts";

export interface Friend extends UserRef {
  friend_status: "online" | "offline";
}

export interface FriendRequest {
  id: number;
  from_user: UserRef;
  to_user: UserRef;
  status: "pending" | "accepted" | "declined";
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface Friends {
  /** By user id, highest first. */
  list(caller: Caller, query: PageQuery): Promise<Page<Friend>>;
  /** @throws "invalid" for oneself or a user that does not exist, "conflict" where one is pending or accepted already. */
  request(caller: Caller, to: number): Promise<FriendRequest>;
  /** @throws "not_found", "forbidden" for who asked, "conflict" where it was answered before. */
  answer(caller: Caller, id: number, action: "accept" | "decline"): Promise<FriendRequest>;
}

interface Answering {
  status: FriendRequest["status"] | null;
  allowed: boolean | null;
  request: FriendRequest | null;
}

export function createFriends(sql: Sql): Friends {
  return {
    async list(caller, { before, limit }) {
      const rows = await sql<{ item: Friend | null }[]>`
        with ${reading(sql, caller)}, friend as (
          select case when f.requester_id = me.id then f.addressee_id else f.requester_id end as id
          from me join app.friendship f on f.status = 'accepted' and (f.requester_id = me.id or f.addressee_id = me.id)
        )
        select item from me left join lateral jsonb_array_elements(app.friends_json(array(
          select id from friend ${before === undefined ? sql`` : sql`where id < ${before}`}
          order by id desc limit ${limit + 1}))) item on true`;
      return pageOf(rows, limit);
    },

    async request(caller, to) {
      if (String(to) === caller) throw new TidingsError("invalid", "to: you cannot be your own friend.");
      const rows = await sql<{ request: FriendRequest | null; known: boolean }[]>`
        with ${acting(sql, caller)}, made as (
          insert into app.friendship (requester_id, addressee_id)
          select me.id, u.id from me join app."user" u on u.id = ${to}
          on conflict do nothing returning *
        )
        select (select app.friend_request_json(m) from made m) as request,
          exists (select from app."user" u where u.id = ${to}) as known from me`;
      const { request, known } = answerOf(rows);
      if (!known) throw new TidingsError("invalid", `to: there is no user ${to}.`);
      if (!request) throw new TidingsError("conflict", "You are friends already, or a request waits for its answer.");
      return request;
    },

    async answer(caller, id, action) {
      const rows = await sql<Answering[]>`
        with ${acting(sql, caller)}, found as materialized (
          select f.* from me join app.friendship f on me.id in (f.requester_id, f.addressee_id)
          where f.id = ${id} for update of f
        ), changed as (
          update app.friendship f set status = ${action === "accept" ? "accepted" : "declined"} from found, me
          where f.id = found.id and found.status = 'pending' and found.addressee_id = me.id
          returning f.*
        )
        select f.status, f.addressee_id = me.id as allowed,
          (select app.friend_request_json(c) from changed c) as request
        from me left join found f on true`;
      const { status, allowed, request } = answerOf(rows);
      if (status === null) throw new TidingsError("not_found", `You have no friend request ${id}.`);
      if (!allowed) throw new TidingsError("forbidden", `Only the one who was asked may ${action} a friend request.`);
      if (!request) throw new TidingsError("conflict", `This friend request is already ${status}.`);
      return request;
    },
  };
}
