/** `tidings serve`: runs the server until it is told to stop. The first signal drains, the second ends it at once. */
import process from "node:process";
import { signToken } from "../auth/token.ts";
import { VARIABLES } from "../config.ts";
import { createLog } from "../log.ts";
import { readAsset } from "../runtime/assets.ts";
import { hmacCheck } from "../runtime/hmac.ts";
import { serveNode } from "../runtime/node.ts";
import { createService } from "../service.ts";
import { type Command, type ExitCode, UsageError } from "./command.ts";
import { type Database, openDatabase } from "./database.ts";

const SETTINGS = Object.entries(VARIABLES).map(
  ([name, { help, fallback }]) => `  ${name.padEnd(22)} ${help}${fallback === undefined ? "" : ` (${fallback})`}`,
);

export const command: Command = {
  usage: "",
  about: `Runs the server. Settings come from the environment:\n\n${SETTINGS.join("\n")}`,
  options: {},
  run: ({ words }) => {
    if (words.length > 0) throw new UsageError("it takes no arguments; settings come from the environment.");
    return serve();
  },
};

async function serve(): Promise<ExitCode> {
  const database = await openDatabase((text) => process.stderr.write(`tidings: ${text}\n`));
  const log = createLog(database.config.logLevel);
  for (const warning of database.config.warnings) log.warn({}, warning);
  try {
    const service = createService({
      config: database.config,
      log,
      database,
      serve: serveNode,
      assets: readAsset,
      hmac: hmacCheck,
    });
    const stopped = untilSignal();
    const { url } = await service.start();
    process.stdout.write(`listening on ${url}\n`);
    if (database.embedded) process.stdout.write(await greeting(database, url));
    await stopped;
    await service.stop();
  } finally {
    await database.stop();
  }
  return 0;
}

function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    let signals = 0;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (++signals > 1) process.exit(signal === "SIGINT" ? 130 : 143);
      if (process.stderr.isTTY) process.stderr.write("\nStopping; once more ends it at once.\n");
      resolve();
    };
    process.on("SIGINT", onSignal);
    process.on("SIGTERM", onSignal);
  });
}

/** Commands to paste: somebody who has just started it sees a frame arrive within a minute. */
async function greeting({ config, url: databaseUrl }: Database, url: string): Promise<string> {
  if (!config.jwtSecret || !config.domain) return "";
  const [ann, ben] = await Promise.all([1, 2].map((user_id) => signToken(config.jwtSecret!, { user_id }, 86_400)));
  return `
Open ${url}/ in a browser, or watch ann's stream in one terminal:

  URL=${url}
  TOKEN=${ann}
  curl -N -H "Authorization: Bearer $TOKEN" ${url}/sse/notifications/

and let ben write to her from another:

  curl -s -X POST -H "Authorization: Bearer ${ben}" -H "Content-Type: application/json" \\
    -d '{"to":1,"content":"Hello from a terminal"}' ${url}/api/messages

or write rows yourself, and attach tables of your own (README):

  psql ${databaseUrl} -c "insert into app.invite (sender_id, receiver_id, game) values (2, 1, 'chess')"

Ctrl-C stops it, and the database with it.
`;
}
