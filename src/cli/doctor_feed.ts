/** Checks of what FEED asks for beyond LISTEN: the right to read the WAL, a bus that answers. */
import { openBus } from "../bus/bus.ts";
import { walNeeds } from "../db/wal_needs.ts";
import { atMost } from "../deadline.ts";
import { describe } from "../errors.ts";
import type { Check, Finding } from "./doctor.ts";

const BUS_MS = 5_000;

const ok = (text: string): Finding => ({ state: "ok", text });

export const feed: Check = async (patient) => {
  const { config } = patient.database;
  if (config.feed === "wal") return wal(patient);
  if (config.feed === "notify") return ok("FEED is notify: nothing more is needed");
  const bus = await busAnswers(config.busUrl!);
  if (bus.state !== "ok") return bus;
  const source = await wal(patient);
  return ok(`${bus.text}; its relay reads ${source.state === "ok" ? "the WAL" : `NOTIFY (${source.text})`}`);
};

const wal: Check = async ({ sql }) => {
  const need = await walNeeds(sql);
  if (typeof need === "object") return { state: "fail", ...need };
  if (need < 1) {
    const mend = "raise max_replication_slots and max_wal_senders: one more for the instance that reads the WAL";
    return { state: "fail", text: "no replication slot or WAL sender is free", mend };
  }
  return ok(`the WAL can be read; ${need} slots and WAL senders are free, and one instance at a time takes one`);
};

async function busAnswers(url: string): Promise<Finding> {
  const fail = (text: string): Finding => ({ state: "fail", text, mend: "check BUS_URL, and that the engine runs" });
  const bus = openBus({ url, prefix: "tidings-doctor", onMessage() {}, onUp() {}, onDown() {} });
  let reason = "it does not answer";
  try {
    await atMost(
      BUS_MS,
      bus.start().catch((error: unknown) => {
        reason = describe(error);
      }),
    );
    return bus.up ? ok("the bus answers") : fail(`the bus cannot be used: ${reason}`);
  } finally {
    await bus.stop();
  }
}
