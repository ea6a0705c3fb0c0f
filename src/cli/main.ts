#!/usr/bin/env node
/** The command line: the table of commands. */
import process from "node:process";
import { type Commands, runCli } from "./run.ts";

const COMMANDS: Commands = {
  serve: { help: "Run the server", load: () => import("./serve.ts") },
  migrate: { help: "Bring the database up to date, or tell what is missing", load: () => import("./migrate.ts") },
  partition: { help: "Split the table of entries, for many millions", load: () => import("./partition.ts") },
  token: { help: "Print a token for a user", load: () => import("./token.ts") },
  send: { help: "Send a notification or an event", load: () => import("./send.ts") },
  tail: { help: "Show a user's stream as it happens", load: () => import("./tail.ts") },
  watch: { help: "List, add or drop watches of tables", load: () => import("./watch.ts") },
  email: { help: "List e-mails, or try dead ones again", load: () => import("./email.ts") },
  explain: { help: "Tell what became of one notification", load: () => import("./explain.ts") },
  doctor: { help: "Check the installation, and say how to mend it", load: () => import("./doctor.ts") },
};

// whoever reads us may stop reading: `tidings tail 7 | head -1`
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

process.exit(await runCli(COMMANDS, process.argv.slice(2)));
