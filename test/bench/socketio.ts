/**
 * Starts Socket.IO. The writer inserts and then emits from a node of its own, whose adapter notifies the one with the
 * sockets over Postgres; many recipients are one emit to many rooms. Emits cannot be awaited: they pile up in the pool.
 * (Not by `@socket.io/postgres-emitter` 0.1.1: what it sends, the adapter 0.5 passes over.)
 */
import type { Contender, Database, Workshop } from "./contender.ts";
import { INSPECT, probe } from "./probe.ts";
import { startChild } from "./rpc.ts";
import type { SocketIoHandlers } from "./socketio_server.ts";

export async function startSocketIo(shop: Workshop, database: Database): Promise<Contender> {
  const child = startChild<SocketIoHandlers>("socketio_server.ts", [INSPECT]);
  shop.undo(() => child.stop());
  const [looking, url] = await Promise.all([probe(child.process), child.call("start", { url: database.url })]);
  shop.undo(() => looking.close());
  const where = { url: database.url, publish: { via: "socketio" } } as const;
  return {
    name: "Socket.IO",
    rival: true,
    kind: "socketio",
    url,
    database,
    probe: looking,
    targets: async (users) => users.map((user) => ({ user, url: `${url}/socket.io/?EIO=4&transport=websocket` })),
    write: (rows) => shop.writing().call("write", { ...rows, ...where, table: "source" }),
    burst: (rows) => shop.writing().call("burst", { ...rows, ...where }),
    broadcast: (order) => shop.writing().call("broadcast", { ...order, ...where }),
    shout: (n) => shop.writing().call("shout", { n, ...where }),
  };
}
