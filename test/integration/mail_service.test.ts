// @timeout 60
// E-mail in a whole server: what SMTP_URL starts, what a stream hears, and the links in the mails.
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { readUnsubscribeLink, unsubscribeLink } from "../../src/worker/mail_link.ts";
import { collect } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance } from "../helpers/instance.ts";
import { type MailServer, mailServer } from "./mail_server.ts";

const test = suite("e-mail of a server");
let db: TestDatabase;
let server: MailServer;
let app: Instance;
let key: string;
