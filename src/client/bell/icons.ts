/**
 * The bell's icons as line paths, and which one stands for which type of notification.
 */

export const BELL: readonly string[] = [
  "M6 9a6 6 0 1 1 12 0c0 5 1.6 6.6 2.4 7.4a.6.6 0 0 1-.4 1H4a.6.6 0 0 1-.4-1C4.4 15.6 6 14 6 9Z",
  "M10 20.5a2.2 2.2 0 0 0 4 0",
];
export const CHECK: readonly string[] = ["m5 12.5 4.5 4.5L19 7.5"];
export const CHECKS: readonly string[] = ["m2.5 12.5 4 4 8-8.5", "m11 16 .8.8L21.5 7"];
export const DOT: readonly string[] = ["M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8Z"];
export const CROSS: readonly string[] = ["m6.5 6.5 11 11", "m17.5 6.5-11 11"];

const CHAT: readonly string[] = [
  "M20.5 11.5a8 8 0 0 1-8.3 7.7c-1.3 0-2.5-.3-3.6-.7L4 20l1.3-4a7.3 7.3 0 0 1-1.3-4.5A8 8 0 0 1 12.2 4a8 8 0 0 1 8.3 7.5Z",
];
const PEOPLE: readonly string[] = [
  "M9.5 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7Z",
  "M3 19.5c.4-3.3 3-5.5 6.5-5.5s6.1 2.2 6.5 5.5",
  "M18.5 8v6",
  "M15.5 11h6",
];
const INVITE: readonly string[] = [
  "M4.5 6h15A1.5 1.5 0 0 1 21 7.5v9a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 16.5v-9A1.5 1.5 0 0 1 4.5 6Z",
  "m3.5 7.5 8.5 6 8.5-6",
];
const CLOCK: readonly string[] = ["M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17Z", "M12 7.5V12l3 2"];
const TASK: readonly string[] = [
  "M9 4.5H7A1.5 1.5 0 0 0 5.5 6v13A1.5 1.5 0 0 0 7 20.5h10a1.5 1.5 0 0 0 1.5-1.5V6A1.5 1.5 0 0 0 17 4.5h-2",
  "M9.5 3h5v3h-5z",
  "m9 13.5 2 2 4-4.5",
];
const CLIP: readonly string[] = [
  "m19.5 11.5-7.6 7.6a4.6 4.6 0 0 1-6.5-6.5l7.8-7.8a3.1 3.1 0 0 1 4.4 4.4l-7.8 7.7a1.5 1.5 0 0 1-2.2-2.1l7-7",
];

const KINDS: readonly (readonly [RegExp, readonly string[], string])[] = [
  [/message|comment|chat|reply|mention/, CHAT, "blue"],
  [/friend|member|follow|team/, PEOPLE, "violet"],
  [/invite/, INVITE, "amber"],
  [/overdue|deadline|remind|expire/, CLOCK, "red"],
  [/file|attach|upload/, CLIP, "teal"],
  [/assign|task|status/, TASK, "green"],
];

/** The icon and the tint of a type; a bell for types of one's own. */
export function kindOf(type: string): { paths: readonly string[]; tint: string } {
  const [, paths, tint] = KINDS.find(([pattern]) => pattern.test(type)) ?? [null, BELL, "accent"];
  return { paths, tint };
}
