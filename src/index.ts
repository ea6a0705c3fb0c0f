/** The public API of the package `tidings`. Importing it does nothing; the browser's part is `tidings/client`. */
export type { Sql } from "./db/client.ts";
export type { NewNotification, Producer, UserId } from "./db/producer.ts";
export { type ErrorCode, TidingsError } from "./errors.ts";
export type { ServiceLog } from "./log.ts";
export type * from "./protocol/frames.ts";
export { type Claims, createTidings, type Tidings, type TidingsOptions } from "./runtime/node_library.ts";
