/** The demo users of the embedded database, as it is seeded. */
import type { UserRef } from "../protocol/frames.ts";

export const DEMO_USERS: readonly UserRef[] = ["ann", "ben", "cleo", "dan"].map((username, at) => ({
  id: at + 1,
  username,
}));
