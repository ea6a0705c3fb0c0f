/**
 * `tidings/client`: the inbox of one user in a browser (or Node, or a worker), live.
 * `connect` reads the inbox, opens one stream at exactly that point, and keeps both true through lost networks, expired
 * tokens and restarts: no event is missed and none comes twice while the server keeps them.
 * Refuses to guess: signed out, forbidden or an application bug end in state `failed`, with the close code as `failure`.
 */
export type {
  Invite,
  Message,
  Notification,
  NotificationUpdate,
  ReadyData,
  UnreadCount,
  UserRef,
} from "../protocol/frames.ts";
export { type Client, type ConnectOptions, connect } from "./client.ts";
export type { EventName, EventOf } from "./events.ts";
export type { InboxCalls, ListQuery, Page } from "./inbox.ts";
export type { State, Way } from "./machine.ts";
export type { PageEvent, Platform } from "./platform.ts";
export { RequestError } from "./rest.ts";
export type { Bulk, Inbox, Snapshot } from "./snapshot.ts";
export { claimsOf, type GetToken } from "./token.ts";
export type { AnyFrame } from "./transport.ts";

/** A producer's own types, declared by merging; empty here. Part of this module, since a re-export could not be merged into. */
// biome-ignore lint/suspicious/noEmptyInterface: it is there to be merged into
export interface CustomEvents {}
