/** What one user's window shows beside the inbox, and how frames and answers change it: from one world to the next. */
import type { AnyFrame, Inbox, Invite, UserRef } from "../client/index.ts";

export interface Friend extends UserRef {
  friend_status: "online" | "offline";
}

export interface FriendRequest {
  id: number;
  from_user: UserRef;
}

export interface Task {
  id: number;
  title: string;
  creator: UserRef;
  assignee: UserRef | null;
  status: "todo" | "in_progress" | "done" | "cancelled";
  due_at: string | null;
}

export interface World {
  readonly friends: readonly Friend[];
  /** That wait for this user's answer. */
  readonly requests: readonly FriendRequest[];
  /** Whom this user has asked. */
  readonly asked: readonly number[];
  /** Newest first. */
  readonly invites: readonly Invite[];
  readonly tasks: readonly Task[];
}

export const EMPTY_WORLD: World = { friends: [], requests: [], asked: [], invites: [], tasks: [] };

/** The list with an item in it, newest first; one of the same id is replaced. */
export function withItem<T extends { id: number }>(list: readonly T[], item: T): readonly T[] {
  return [item, ...list.filter(({ id }) => id !== item.id)].sort((a, b) => b.id - a.id);
}

/** An invite as it was last heard of: an answer that was long under way does not undo what a frame has said since. */
export function withInvite(list: readonly Invite[], invite: Invite): readonly Invite[] {
  const known = list.find(({ id }) => id === invite.id);
  return known && known.updated_at > invite.updated_at ? list : withItem(list, invite);
}

/** Friends and requests, as `GET /api/inbox` says them. */
export function withPeople(world: World, inbox: Inbox): World {
  const friends = (inbox.friends ?? []) as Friend[];
  const asked = world.asked.filter((id) => !friends.some((friend) => friend.id === id));
  return { ...world, friends, asked, requests: (inbox.friend_requests ?? []) as unknown as FriendRequest[] };
}

/** What has to be read anew because of a frame that does not say it all. */
export function asksFor({ type, ...rest }: AnyFrame): "all" | "people" | "tasks" | undefined {
  if (type === "ready") return "all";
  if (type === "friend_request" || type === "friend_accepted") return "people";
  const { data } = rest as { data?: { data?: { task_id?: number } } };
  return type === "notification" && data?.data?.task_id ? "tasks" : undefined;
}

/** Takes in a frame that says it all. */
export function step(world: World, frame: AnyFrame): World {
  if (frame.type === "invite_created" || frame.type === "invite_status") {
    return { ...world, invites: withInvite(world.invites, (frame as unknown as { invite: Invite }).invite) };
  }
  if (frame.type !== "presence_update") return world;
  const { user_id, status } = frame as unknown as { user_id: number; status: Friend["friend_status"] };
  const friends = world.friends.map((each) => (each.id === user_id ? { ...each, friend_status: status } : each));
  return { ...world, friends };
}
