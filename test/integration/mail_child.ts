/** A process that only mails, to be killed from a test. Arguments: database URL, SMTP URL. */
import process from "node:process";
import { connect } from "../../src/db/client.ts";
import { createMailer } from "../../src/worker/mail.ts";

const [databaseUrl = "", smtpUrl = ""] = process.argv.slice(2);
createMailer({
  sql: connect(databaseUrl, { max: 2, name: "mail child" }),
  smtpUrl,
  from: "no-reply@example.org",
  delaySeconds: 0,
  unsubscribeKey: "key",
  log: { warn: (fields, text) => void process.stderr.write(`${text} ${JSON.stringify(fields)}\n`) },
}).start();
