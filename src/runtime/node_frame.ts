/**
 * Text messages as they stand on a WebSocket's wire: one buffer and so one write for each, where ws makes two and joins
 * them again. Without compression, which is off, a message is the same for every socket: one that goes to many in a row
 * is encoded once.
 */
import { Buffer } from "node:buffer";

/** [spec] RFC 6455 5.2: final fragment, text. A server does not mask. */
const FINAL_TEXT = 0x81;
const SHORT = 126;
const MIDDLE = 65_536;

let lastText = "";
let lastFrame: Buffer = encode(lastText);

/** To be written as it is, and not to be changed: others may be sent the same. */
export function textFrame(text: string): Buffer {
  if (text !== lastText) {
    lastFrame = encode(text);
    lastText = text;
  }
  return lastFrame;
}

function encode(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const head = length < SHORT ? 2 : length < MIDDLE ? 4 : 10;
  const frame = Buffer.allocUnsafe(head + length);
  frame[0] = FINAL_TEXT;
  if (head === 2) frame[1] = length;
  else if (head === 4) {
    frame[1] = SHORT;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = SHORT + 1;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.write(text, head);
  return frame;
}
