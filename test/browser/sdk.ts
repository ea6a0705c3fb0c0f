/** The SDK in a real page, as `/bell.js` brings it, with everything a handler has heard. */
import type { Page } from "playwright-core";
import type { Client, ConnectOptions } from "../../src/client/index.ts";
import type { Frame } from "../helpers/streams.ts";

export interface Heard {
  readonly frames: Frame[];
  readonly titles: string[];
  readonly unread: number;
  readonly connected: boolean;
  readonly transport: string | null;
}

declare global {
  interface Window {
    client: Client;
    heard: Frame[];
  }
}

/** `connect(options)` in the page, with this token. */
export async function connectSdk(page: Page, jwt: string, options: ConnectOptions = {}): Promise<void> {
  await page.evaluate(
    async ({ jwt, options }) => {
      const bell = "/bell.js";
      const { connect } = (await import(bell)) as typeof import("../../src/client/index.ts");
      window.heard = [];
      window.client = connect({ ...options, getToken: () => jwt });
      window.client.on("*", (frame) => window.heard.push(frame as never));
    },
    { jwt, options },
  );
}

export const heard = (page: Page): Promise<Heard> =>
  page.evaluate(() => {
    const { notifications, unreadCount, connected, transport } = window.client.getSnapshot();
    const titles = notifications.map(({ title }) => title).reverse();
    return { frames: window.heard, titles, unread: unreadCount, connected, transport };
  });
