/**
 * The stream over a WebSocket. The token travels as a subprotocol, since a page cannot set headers and a query ends in logs.
 * A constructor that throws (blocked by policy, a token with letters no subprotocol may have) is a failed attempt like any other.
 */
import { parseFrame, type Sink, type Transport } from "./transport.ts";

/** Opens a socket at an http(s) address. Reports through `sink`, also when it never opens. */
export function openWebSocket(
  Socket: typeof WebSocket,
  address: string,
  token: string | undefined,
  sink: Sink,
): Transport {
  let socket: WebSocket | undefined;
  try {
    socket = new Socket(address.replace("http", "ws"), token ? ["tidings.v1", `bearer.${token}`] : ["tidings.v1"]);
    socket.onmessage = ({ data }) => sink.frame(parseFrame(data));
    socket.onclose = ({ code }) => sink.closed(code);
    // No close event follows in some clients when the handshake was refused.
    socket.onerror = () => sink.closed(0);
  } catch {
    queueMicrotask(() => sink.closed(0));
  }
  return {
    kind: "websocket",
    send: (frame) => {
      if (socket?.readyState === 1) socket.send(JSON.stringify(frame));
    },
    close: () => socket?.close(1000),
  };
}
