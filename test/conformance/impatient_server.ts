/** The server of DATABASE_URL with fast clocks: heartbeats in tenths of a second, a stuck reader sent away after one. */
import process from "node:process";
import { instance } from "../helpers/instance.ts";

const timing = { heartbeatMs: 400, pongMs: 300, sseHeartbeatMs: 300, stuckMs: 1_000 };
const { url } = await instance(process.env.DATABASE_URL!, { env: { DOMAIN: "off" }, timing });
process.stdout.write(`listening on ${url}\n`);
