/**
 * `tidings/react`: one client for a tree of components, and hooks on it by `useSyncExternalStore`, so that no component
 * ever shows two truths at once. Correct under StrictMode (the client of a discarded mount is closed) and when the user
 * changes (a new client, nothing of the old one is shown); a newer token of the same user changes nothing but the token.
 */
import {
  createContext,
  createElement,
  type ReactElement,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { type Client, type ConnectOptions, connect } from "./client.ts";
import type { EventName, EventOf } from "./events.ts";
import type { InboxCalls } from "./inbox.ts";
import { EMPTY, type Snapshot } from "./snapshot.ts";
import { claimsOf } from "./token.ts";

const Context = createContext<Client | null>(null);

export interface TidingsProviderProps extends ConnectOptions {
  /** The user's token, instead of `getToken`; null while nobody is signed in: then nothing is connected. */
  token?: string | null;
  /** A client of the page's own; it is not closed here, and the other properties mean nothing. */
  client?: Client;
  children?: ReactNode;
}

/**
 * Connects for the components below. Reconnects when `url`, `transport`, `shared`, `hydrate`, `types` or the user change;
 * a new `getToken` function does not, it is only asked next time.
 */
export function TidingsProvider({ client: given, children, ...options }: TidingsProviderProps): ReactElement {
  const own = useClient(options, !given);
  return createElement(Context.Provider, { value: given ?? own }, children);
}

function useClient(options: Omit<TidingsProviderProps, "client" | "children">, wanted: boolean): Client | null {
  const [client, setClient] = useState<Client | null>(null);
  const latest = useRef(options);
  const { token, url, transport, shared, hydrate, types, getToken } = options;
  const user = `${options.user ?? (token ? (claimsOf(token).user ?? token) : "")}`;
  const signedOut = token === null;
  const source = token ? "token" : getToken ? "function" : "cookie";
  const key = JSON.stringify([wanted, signedOut, source, user, `${url}`, transport, shared, hydrate, types]);

  useEffect(() => {
    latest.current = options;
  });

  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says all that a connection is made of
  useEffect(() => {
    if (!wanted || signedOut) return;
    const now = latest.current;
    const get = (): ReturnType<NonNullable<typeof getToken>> => latest.current.token ?? latest.current.getToken?.();
    const made = connect({ ...now, getToken: source === "cookie" ? undefined : get });
    setClient(made);
    return () => {
      made.close();
      setClient(null);
    };
  }, [key]);

  // A newer token of the same user: what had given up for want of one tries again.
  useEffect(() => {
    if (token && client?.getSnapshot().state === "failed") client.retry();
  }, [token, client]);

  return client;
}

const nothing = (): (() => void) => () => {};
const empty = (): Snapshot => EMPTY;

/** The client, for calls; null before it is connected, on the server, and while nobody is signed in. */
export function useTidings(): Client | null {
  return useContext(Context);
}

/** What `select` takes out of the snapshot; renders again only when that changes (compared by `Object.is`). */
export function useSnapshot<T>(select: (snapshot: Snapshot) => T): T {
  const client = useTidings();
  const read = (): T => select((client?.getSnapshot ?? empty)());
  return useSyncExternalStore(client?.subscribe ?? nothing, read, () => select(EMPTY));
}

export interface Notifications
  extends Pick<Snapshot, "notifications" | "unreadCount" | "byType" | "hasMore">,
    Omit<InboxCalls, "list" | "unreadCount"> {
  /** The inbox has not been read yet. */
  loading: boolean;
}

/** The inbox, live, and what can be done with it. The calls reject while there is no client. */
export function useNotifications(): Notifications {
  const client = useTidings();
  const notifications = useSnapshot((at) => at.notifications);
  const unreadCount = useSnapshot((at) => at.unreadCount);
  const byType = useSnapshot((at) => at.byType);
  const hasMore = useSnapshot((at) => at.hasMore);
  const loading = useSnapshot((at) => !at.inbox);
  const calls = useMemo(() => callsOf(client), [client]);
  return { ...calls, notifications, unreadCount, byType, hasMore, loading };
}

type Calls = Omit<InboxCalls, "list" | "unreadCount">;

function callsOf(client: Client | null): Calls {
  if (client) {
    const { loadMore, markRead, markUnread, markAllRead, remove } = client;
    return { loadMore, markRead, markUnread, markAllRead, remove };
  }
  const refuse = (): Promise<never> =>
    Promise.reject(new Error("Not connected: no TidingsProvider, or nobody signed in."));
  return { loadMore: refuse, markRead: refuse, markUnread: refuse, markAllRead: refuse, remove: refuse };
}

/** Hears of frames of a type while the component is mounted; always calls the handler of the last render. */
export function useEvent<T extends EventName>(type: T, handler: (event: EventOf<T>) => void): void {
  const client = useTidings();
  const latest = useRef(handler);
  useEffect(() => {
    latest.current = handler;
  });
  useEffect(() => client?.on(type, (event) => latest.current(event)), [client, type]);
}

/** Whether a stream is open. */
export function useConnected(): boolean {
  return useSnapshot((at) => at.connected);
}
