/**
 * Reads what the plugin pgoutput sends of inserted rows and of messages [spec Postgres, "Logical Replication Message
 * Formats", protocol version 1]. Rows of one table; everything else is passed over. Keeps nothing but the table's columns.
 */
import type { Columns } from "../protocol/stored.ts";

export interface Handlers {
  /** What follows, up to `commit`, belongs to this transaction. */
  begin(xid: number): void;
  commit(): void;
  row(row: Columns): void;
  message(prefix: string, text: string): void;
}

/** Returns the reader of one XLogData payload after another. Throws where one is cut short. */
export function createDecoder(schema: string, table: string, handlers: Handlers): (payload: Buffer) => void {
  let relation = -1;
  let columns: string[] = [];

  function readRelation(payload: Buffer): void {
    const at = { offset: 5 };
    if (readString(payload, at) !== schema || readString(payload, at) !== table) return;
    relation = payload.readUInt32BE(1);
    at.offset += 1; // replica identity
    const count = payload.readUInt16BE(at.offset);
    at.offset += 2;
    columns = Array.from({ length: count }, () => {
      at.offset += 1; // flags
      const name = readString(payload, at);
      at.offset += 8; // type and its modifier
      return name;
    });
  }

  function readInsert(payload: Buffer): void {
    if (payload.readUInt32BE(1) !== relation) return;
    const row: Record<string, string | null> = {};
    let offset = 8; // tag, relation, 'N', number of columns
    for (const column of columns) {
      const kind = payload[offset++];
      if (kind !== 0x74) {
        row[column] = null;
        continue;
      }
      const end = offset + 4 + payload.readUInt32BE(offset);
      row[column] = payload.toString("utf8", offset + 4, end);
      offset = end;
    }
    handlers.row(row);
  }

  function readMessage(payload: Buffer): void {
    const at = { offset: 10 }; // tag, flags, LSN
    const prefix = readString(payload, at);
    handlers.message(prefix, payload.toString("utf8", at.offset + 4, at.offset + 4 + payload.readUInt32BE(at.offset)));
  }

  return (payload) => {
    if (payload[0] === 0x42) handlers.begin(payload.readUInt32BE(17));
    else if (payload[0] === 0x43) handlers.commit();
    else if (payload[0] === 0x52) readRelation(payload);
    else if (payload[0] === 0x49) readInsert(payload);
    else if (payload[0] === 0x4d) readMessage(payload);
  };
}

function readString(payload: Buffer, at: { offset: number }): string {
  const end = payload.indexOf(0, at.offset);
  const text = payload.toString("utf8", at.offset, end);
  at.offset = end + 1;
  return text;
}
