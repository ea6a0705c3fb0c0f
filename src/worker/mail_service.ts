/** E-mail as a server has it: the mailer where SMTP_URL is set, and the links in mails, which any instance answers. */
import type { Config } from "../config.ts";
import { createMailer, type Mailer, type MailerOptions } from "./mail.ts";
import { createUnsubscriber, type Unsubscriber } from "./mail_link.ts";

export interface Mail extends Pick<Mailer, "nudge" | "stop"> {
  readonly links: Unsubscriber;
  /** Begins to send, once the database is migrated. @param baseUrl see MailerOptions */
  start(baseUrl: string | undefined): Promise<void>;
}

export function createMail(
  options: Pick<MailerOptions, "sql" | "log" | "observe"> & {
    readonly config: Pick<Config, "smtpUrl" | "mailFrom" | "emailDelaySeconds">;
  },
): Mail {
  const { config, ...rest } = options;
  const { smtpUrl, mailFrom: from, emailDelaySeconds: delaySeconds } = config;
  const links = createUnsubscriber(options.sql);
  let mailer: Mailer | undefined;
  let isStopped = false;
  return {
    links,
    async start(baseUrl) {
      if (!smtpUrl) return;
      const unsubscribeKey = await links.key();
      if (isStopped) return;
      mailer = createMailer({ ...rest, smtpUrl, from, delaySeconds, baseUrl, unsubscribeKey });
      mailer.start();
    },
    nudge: () => mailer?.nudge(),
    async stop() {
      isStopped = true;
      await mailer?.stop();
    },
  };
}
