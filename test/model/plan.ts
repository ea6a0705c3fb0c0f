/**
 * A history as a list of steps, made from a seed and nothing else: the same seed always gives the same list. What the
 * steps do to each other depends on timing, which is the point; what is asked for does not.
 */
import { type Random, random } from "./random.ts";

/** One entry to publish. No other entry of its user has its `tag`. */
export interface Draft {
  readonly user: number;
  readonly tag: string;
  readonly shape: "notification" | "event" | "both";
  readonly key?: string;
  /** Characters of padding in the message. */
  readonly padding: number;
}

/** One transaction of a writer. */
export interface Transaction {
  readonly drafts: readonly Draft[];
  /** In a savepoint that is rolled back, before the last draft. */
  readonly undone: readonly Draft[];
  readonly outcome: "commit" | "rollback";
  /** How long it stays open after its last statement. */
  readonly holdMs: number;
  /** All drafts by one statement, `broadcast` (one to each of many users) or a query (many to one). */
  readonly how: "each" | "broadcast" | "query";
}

export type Step =
  | { readonly kind: "publish"; readonly transaction: Transaction }
  | { readonly kind: "transient"; readonly user: number; readonly size: number }
  | { readonly kind: "connect"; readonly user: number; readonly transport: "ws" | "sse"; readonly from: 0 | null }
  | { readonly kind: "drop" | "duplicate"; readonly client: number }
  | { readonly kind: "rewind"; readonly client: number; readonly by: number }
  | { readonly kind: "pause"; readonly client: number; readonly ms: number }
  | { readonly kind: "rest"; readonly user: number; readonly act: "read" | "unread" | "delete"; readonly back: number }
  | { readonly kind: "read_all"; readonly user: number }
  | { readonly kind: "kill" | "terminate_listen" | "terminate_pool"; readonly instance: number }
  | { readonly kind: "lose" | "stall"; readonly instance: number; readonly ms: number }
  /** Nothing where there is no bus. */
  | { readonly kind: "restart_bus"; readonly downMs: number }
  | { readonly kind: "freeze_bus"; readonly ms: number }
  | { readonly kind: "restart_postgres"; readonly how: "fast" | "crash"; readonly downMs: number };

export interface Plan {
  readonly seed: number;
  readonly users: readonly number[];
  readonly instances: number;
  readonly steps: readonly { readonly afterMs: number; readonly step: Step }[];
}

const WEIGHTS = {
  ...{ one: 22, many: 6, few: 6, all: 4, keyed: 3, big: 2, rollback: 4, savepoint: 4, long: 3, transient: 3 },
  ...{ connect: 5, drop: 9, rewind: 4, duplicate: 3, pause: 4 },
  ...{ read: 5, unread: 2, delete: 3, read_all: 2 },
  ...{
    kill: 1,
    terminate_listen: 1.5,
    terminate_pool: 1,
    lose: 2,
    stall: 1,
    restart_postgres: 0.7,
    restart_bus: 1,
    freeze_bus: 0.7,
  },
};

export interface PlanOptions {
  readonly users?: number;
  readonly instances?: number;
  readonly steps?: number;
}

/** The history of a seed. Its user ids are its own, so that histories can share one database. */
export function plan(seed: number, { users: many = 6, instances = 2, steps = 160 }: PlanOptions = {}): Plan {
  const chance = random(seed);
  const users = Array.from({ length: many }, (_, at) => (seed % 10_000_000) * 100 + at + 1);
  const first: Step[] = users.flatMap((user) => [
    { kind: "connect", user, transport: "ws", from: null },
    { kind: "connect", user, transport: "sse", from: 0 },
  ]);
  const draw = drawer(chance, seed, users, instances, first.length);
  const later = Array.from({ length: steps }, () => draw());
  return {
    seed,
    users,
    instances,
    steps: [...first, ...later].map((step) => ({ afterMs: chance.between(0, chance.pick([0, 5, 40])), step })),
  };
}

function drawer(chance: Random, seed: number, users: readonly number[], instances: number, first: number): () => Step {
  let drafts = 0;
  let clients = first;
  const user = (): number => chance.pick(users);
  const client = (): number => chance.between(0, clients - 1);
  const draft = (to: number, extra: Partial<Draft> = {}): Draft => ({
    user: to,
    tag: `${seed}.${++drafts}`,
    shape: chance.pick(["notification", "notification", "event", "both"]),
    padding: 0,
    ...extra,
  });
  const several = (): Draft[] => Array.from({ length: chance.between(2, 5) }, () => draft(user()));
  const publish = (list: readonly Draft[], rest: Partial<Transaction> = {}): Step => ({
    kind: "publish",
    transaction: { drafts: list, undone: [], outcome: "commit", holdMs: 0, how: "each", ...rest },
  });
  const toOne = (count: number, padding: number): Step => {
    const to = user();
    const shape = chance.pick(["notification", "both"] as const);
    return publish(
      Array.from({ length: count }, () => draft(to, { shape, padding })),
      { how: "query" },
    );
  };
  const instance = (): number => chance.between(0, instances - 1);
  const make: Record<keyof typeof WEIGHTS, () => Step> = {
    one: () => publish([draft(user(), { padding: chance.pick([0, 0, 0, 9_000]) })]),
    few: () => publish(several()),
    many: () => toOne(chance.between(6, 40), 0),
    big: () => toOne(chance.between(100, 400), 2_000),
    all: () => {
      const one = draft(user(), { shape: "notification" });
      return publish(
        chance.shuffled(users).map((to) => ({ ...one, user: to })),
        { how: "broadcast" },
      );
    },
    keyed: () => publish([draft(user(), { key: `key ${chance.between(1, 3)}` })]),
    rollback: () => publish(several(), { outcome: "rollback" }),
    savepoint: () => publish(several(), { undone: several() }),
    long: () =>
      publish(several(), { holdMs: chance.between(200, 1_200), outcome: chance.pick(["commit", "rollback"]) }),
    transient: () => ({ kind: "transient", user: user(), size: chance.pick([10, 12_000]) }),
    connect: () => {
      clients++;
      return { kind: "connect", user: user(), transport: chance.pick(["ws", "sse"]), from: chance.pick([0, null]) };
    },
    duplicate: () => {
      const of = client();
      clients++;
      return { kind: "duplicate", client: of };
    },
    drop: () => ({ kind: "drop", client: client() }),
    rewind: () => ({ kind: "rewind", client: client(), by: chance.between(1, 120) }),
    pause: () => ({ kind: "pause", client: client(), ms: chance.between(50, 1_500) }),
    read: () => ({ kind: "rest", user: user(), act: "read", back: chance.between(0, 20) }),
    unread: () => ({ kind: "rest", user: user(), act: "unread", back: chance.between(0, 20) }),
    delete: () => ({ kind: "rest", user: user(), act: "delete", back: chance.between(0, 20) }),
    read_all: () => ({ kind: "read_all", user: user() }),
    kill: () => ({ kind: "kill", instance: instance() }),
    terminate_listen: () => ({ kind: "terminate_listen", instance: instance() }),
    terminate_pool: () => ({ kind: "terminate_pool", instance: instance() }),
    lose: () => ({ kind: "lose", instance: instance(), ms: chance.between(100, 1_500) }),
    stall: () => ({ kind: "stall", instance: instance(), ms: chance.between(300, 2_500) }),
    restart_bus: () => ({ kind: "restart_bus", downMs: chance.between(0, 1_500) }),
    freeze_bus: () => ({ kind: "freeze_bus", ms: chance.between(300, 6_000) }),
    restart_postgres: () => ({
      kind: "restart_postgres",
      how: chance.pick(["fast", "crash"]),
      downMs: chance.between(0, 1_200),
    }),
  };
  return () => make[chance.weighted(WEIGHTS)]();
}
