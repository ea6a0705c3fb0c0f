/** HTTP and WebSocket by hand over TCP: for what no well-behaved client sends, and for clients that do not read. */
import { connect, type Socket } from "node:net";

export interface RawClient {
  socket: Socket;
  /** Everything received so far, as latin1. */
  received(): string;
  /** Resolves when the server has closed. */
  ended: Promise<void>;
}

/** Connects and sends the text, as latin1. */
export async function rawClient(port: number, text: string): Promise<RawClient> {
  const socket = connect({ port, host: "127.0.0.1" });
  let received = "";
  socket.setEncoding("latin1").on("data", (chunk) => {
    received += chunk;
  });
  socket.on("error", () => {});
  const ended = new Promise<void>((resolve) => {
    socket.on("close", () => resolve());
  });
  await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  socket.write(text, "latin1");
  return { socket, received: () => received, ended };
}

/** The text of an upgrade request; later headers replace earlier ones of the same name, null leaves one out. */
export function upgradeRequest(path: string, headers: Record<string, string | null> = {}, method = "GET"): string {
  const all: Record<string, string | null> = {
    Host: "localhost",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === null ? [] : [`${name}: ${value}`]));
  return `${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`;
}
