/** The command line with a DATABASE_URL: what it prints, what it refuses in one clear line, and its exit codes. */
import { createServer } from "node:net";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Cli, type Exit, endAll, tidings } from "../helpers/cli.ts";
import { closeClients, socket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { SECRET } from "../helpers/instance.ts";

const test = suite("cli");
let db: TestDatabase;

test.before(async () => {
  db = await database({ domain: false });
});
test.after.each(async () => {
  closeClients();
  await endAll();
});
test.after(() => db?.drop());

async function run(args: string[], env: Record<string, string> = {}): Promise<Exit & { out: string; err: string }> {
  const cli = tidings(args, env);
  const exit = await cli.exited;
  return { ...exit, out: cli.stdout(), err: cli.stderr() };
}

/** A refusal: exit code 1, nothing on standard output, no stack. Resolves with what it says on standard error. */
async function refusal(env: Record<string, string>): Promise<string> {
  const { code, out, err } = await run(["serve"], { LOG_LEVEL: "error", ...env });
  assert.equal([code, out], [1, ""], err);
  assert.match(err, /^tidings: \S/);
  assert.not.match(err, /\n {4}at /);
  return err;
}

const settings = (): Record<string, string> => ({ DATABASE_URL: db.url, JWT_SECRET: SECRET, DOMAIN: "off" });

test("--help and help name every command, on standard output, with exit code 0", async () => {
  const answers = await Promise.all([["--help"], ["help"]].map((args) => run(args)));
  for (const { code, out, err } of answers) {
    assert.equal([code, err], [0, ""]);
    assert.match(out, /^Usage: tidings <command>/);
    for (const command of ["serve", "migrate", "token", "send", "tail", "watch", "email", "explain", "doctor"])
      assert.match(out, new RegExp(`^  ${command} +\\S`, "m"));
  }
});

test("no command, and one there is not, are told how to do it right: exit code 2, nothing on standard output", async () => {
  const [none, wrong] = await Promise.all([run([]), run(["constructor"])]);
  assert.equal([none.code, none.out], [2, ""]);
  assert.match(none.err, "Usage: tidings <command>");
  assert.equal([wrong.code, wrong.out], [2, ""]);
  assert.match(wrong.err, 'there is no command "constructor"');
});

test("serve --help names every setting with its default; serve takes no arguments", async () => {
  const [help, extra] = await Promise.all([run(["serve", "--help"]), run(["serve", "8080"])]);
  assert.is(help.code, 0);
  for (const name of ["PORT", "DATABASE_URL", "JWT_SECRET", "ALLOWED_ORIGINS", "DRAIN_SECONDS"]) {
    assert.match(help.out, new RegExp(`^  ${name} `, "m"));
  }
  assert.match(help.out, /PORT .*\(8000\)/);
  assert.is(extra.code, 2);
  assert.match(extra.err, "takes no arguments");
});

test("a DATABASE_URL without JWT_SECRET or JWKS_URL is refused, and says what to set", async () => {
  const said = await refusal({ DATABASE_URL: db.url });
  assert.match(said, /^- DATABASE_URL is set, but neither JWT_SECRET nor JWKS_URL: set the one/m);
  assert.is(said.trim().split("\n").length, 2, "the heading and this mistake");
});

test("a database that is not there, does not exist or wants another password is told in one line, without the password", async () => {
  const at = (change: (url: URL) => void): string => {
    const url = new URL(db.url);
    change(url);
    return url.href;
  };
  const wrong = [
    at((url) => {
      url.port = "1";
    }),
    at((url) => {
      url.pathname = "/no_such_database";
    }),
    at((url) => {
      url.password = "wrong-password";
    }),
  ];
  const errors = await Promise.all(wrong.map((url) => refusal({ ...settings(), DATABASE_URL: url })));
  for (const [at, error] of errors.entries()) {
    assert.match(error, /^tidings: The database cannot be used \(.+\): check DATABASE_URL\.\n$/);
    assert.not.match(error, new URL(wrong[at]!).password);
  }
  assert.match(errors[1]!, "no_such_database");
});

test("a wrong setting is named with what is accepted, all mistakes at once, no secret shown", async () => {
  const { code, err } = await run(["serve"], { ...settings(), PORT: "http", DOMAIN: "maybe", SMTP_URL: "hunter2" });
  assert.is(code, 1);
  assert.match(err, /PORT is "http": accepted is/);
  assert.match(err, /DOMAIN is "maybe"/);
  assert.match(err, "SMTP_URL (value not shown)");
  assert.not.match(err, "hunter2");
});

test("a port that is taken is told in one line, and the database is let go", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const { port } = taken.address() as { port: number };
  try {
    assert.match(await refusal({ ...settings(), PORT: String(port) }), new RegExp(`127\\.0\\.0\\.1:${port}.*PORT`));
  } finally {
    taken.close();
  }
});

test("serve prints one line on standard output, when requests are served and LISTEN is up; its log is JSON lines", async () => {
  const server: Cli = tidings(["serve"], settings());
  const url = await server.url;
  assert.is(((await (await fetch(`${url}/readyz`)).json()) as { status: string }).status, "ready");
  assert.is(server.stdout(), `listening on ${url}\n`);
  server.kill("SIGINT");
  assert.equal(await server.exited, { code: 0, signal: null });
  for (const line of server.stderr().split("\n").filter(Boolean)) assert.type(JSON.parse(line).level, "number");
});

test("tidings token prints a token that the server takes, as a number where the user is one, with its scopes", async () => {
  const server = tidings(["serve"], settings());
  const url = await server.url;
  const [seven, ann, service] = await Promise.all([
    run(["token", "7"], settings()),
    run(["token", "ann"], settings()),
    run(["token", "worker", "--scope", "publish", "--ttl", "60"], settings()),
  ]);
  for (const [answer, user] of [
    [seven, 7],
    [ann, "ann"],
  ] as const) {
    assert.match(answer.out, /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    const headers = { authorization: `Bearer ${answer.out.trim()}` };
    const stream = await socket(`${url.replace("http", "ws")}/ws/notifications/`, { headers });
    assert.is((await stream.find("ready")).data?.user_id, user);
  }
  const published = await fetch(`${url}/api/publish`, {
    method: "POST",
    headers: { authorization: `Bearer ${service.out.trim()}`, "content-type": "application/json" },
    body: JSON.stringify({ to: 7, message: "from a service" }),
  });
  assert.is(published.status, 202);
});

test("tidings token without a user, with a wrong ttl or an unknown option says what is wrong: exit code 2, no stack", async () => {
  const wrong = [[], ["7", "--ttl", "soon"], ["7", "--nope"]];
  const answers = await Promise.all(wrong.map((args) => run(["token", ...args], settings())));
  for (const [at, { code, out, err }] of answers.entries()) {
    assert.equal([code, out], [2, ""], wrong[at]!.join(" "));
    assert.match(err, /Usage: tidings token USER/);
    assert.not.match(err, /\n {4}at /);
  }
});

test.run();
