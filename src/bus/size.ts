const encoder = new TextEncoder();

/** Whether a text takes more than so many bytes. */
export function isTooBig(text: string, maxBytes: number): boolean {
  // No UTF-16 unit takes more than three bytes.
  return text.length * 3 > maxBytes && encoder.encode(text).length > maxBytes;
}
