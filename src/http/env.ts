/** What routes find on their context, and what they are handed by the composition root. */

import type { Place } from "../auth/place.ts";
import type { Identity } from "../auth/token.ts";

/** The Hono environment of every route that asks for a token. */
export interface Env {
  Variables: {
    /** Who asks; set by `gate.rest`. */
    identity: Identity;
    /** Where the token stood. */
    place: Place;
    requestId: string;
  };
}
