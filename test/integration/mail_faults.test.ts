// @timeout 60
// What may go wrong between a claim and the mail server's answer, and that nothing is ever sent twice by itself.
import { spawn } from "node:child_process";
import { createServer, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../helpers/eventually.ts";
import { type MailScene, mailScene } from "./mail_scene.ts";
import { mailServer } from "./mail_server.ts";

const test = suite("e-mail in trouble");
let s: MailScene;

test.before(async () => {
  s = await mailScene();
});
test.after(() => s.end());
test.after.each(() => s.reset());

const becomes = (...states: string[]): Promise<void> =>
  eventually(async () => assert.equal(await s.states("u1"), states), { deadlineMs: 10_000 });

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test("a 4xx is tried again after a pause, and sent once the server takes it", async () => {
  const tries: number[] = [];
  s.server.onMessage = () => {
    tries.push(Date.now());
    return tries.length < 3 ? 451 : "accept";
  };
  await s.notify("u1", "patience");
  s.mailer();
  await becomes("1:sent");
  assert.equal([s.server.mails.length, tries.length, s.results], [1, 3, ["retried", "retried", "sent"]]);
  assert.ok(tries[1]! - tries[0]! >= 50 && tries[2]! - tries[1]! >= 100, "the pauses grow");
  const row = await s.row("u1");
  assert.equal([row.attempts, row.last_error], [3, null]);
});

test("a 4xx for the recipient is tried again too, and given up after the last attempt", async () => {
  s.server.onRecipient = () => 450;
  await s.notify("u1", "never");
  s.mailer({ timing: { retryMs: 20, maxAttempts: 3 } });
  await becomes("1:dead");
  const row = await s.row("u1");
  assert.is(row.attempts, 3);
  assert.match(String(row.last_error), "450");
  assert.equal(s.results, ["retried", "retried", "dead"]);
});

for (const step of ["onRecipient", "onMessage"] as const) {
  test(`a 5xx is final (${step}); the next mail of the queue is sent`, async () => {
    const tries: string[] = [];
    s.server[step] = (what: unknown) => {
      const to = typeof what === "string" ? what : (what as { to: string[] }).to[0]!;
      tries.push(to);
      return to.startsWith("u1@") ? 550 : "accept";
    };
    await s.notify("u1", "refused");
    await s.notify("u2", "taken");
    s.mailer({ timing: { lanes: 1 } });
    await becomes("1:dead");
    await eventually(async () => assert.equal(await s.states("u2"), ["1:sent"]));
    await pause(300);
    assert.equal(tries, ["u1@example.com", "u2@example.com"]);
    assert.match(String((await s.row("u1")).last_error), "550");
    assert.equal([s.warnings.length, s.warnings[0]!.user_id, s.warnings[0]!.state], [1, "u1", "dead"]);
  });
}

test("a connection lost before the content is tried again", async () => {
  let tries = 0;
  s.server.onRecipient = () => (++tries === 1 ? "drop" : "accept");
  await s.notify("u1", "again");
  s.mailer();
  await becomes("1:sent");
  assert.equal([s.server.mails.length, tries], [1, 2]);
});

test("a connection lost after the content leaves a doubt: unknown, and not sent again by itself", async () => {
  let tries = 0;
  s.server.onMessage = () => {
    tries++;
    return "drop";
  };
  await s.notify("u1", "perhaps");
  s.mailer();
  await becomes("1:unknown");
  await pause(500);
  assert.equal([tries, await s.states("u1"), s.results], [1, ["1:unknown"], ["unknown"]]);
  assert.match(String((await s.row("u1")).last_error), "may have been sent");
});

test("a server that refuses everybody, or is away, kills no mail", async () => {
  const greetings: Socket[] = [];
  const refusing = createServer((socket) => {
    greetings.push(socket);
    socket.on("error", () => {});
    socket.end("554 not today\r\n");
  });
  await new Promise<void>((resolve) => refusing.listen(0, "127.0.0.1", resolve));
  const { port } = refusing.address() as { port: number };
  await s.notify("u1", "one");
  await s.notify("u2", "two");
  s.mailer({ smtpUrl: `smtp://127.0.0.1:${port}`, timing: { retryMs: 500 } });
  await eventually(() => s.results.includes("retried"));
  await new Promise((resolve) => refusing.close(resolve));
  await eventually(async () => assert.match(String((await s.row("u1")).last_error), /ECONNREFUSED|not today/));
  assert.equal([await s.states("u1"), await s.states("u2")], [["1:pending"], ["1:pending"]]);
  const late = await mailServer({ port });
  await eventually(async () => (await s.states("u1"))[0] === "1:sent" && (await s.states("u2"))[0] === "1:sent", {
    deadlineMs: 20_000,
  });
  assert.is(late.mails.length, 2);
  await late.close();
});

test("a worker killed between claim and send leaves an unknown mail that nobody sends again", async () => {
  let asked = 0;
  s.server.onRecipient = () => {
    asked++;
    return new Promise(() => {});
  };
  await s.notify("u1", "doomed");
  const child = spawn(
    process.execPath,
    ["--import", "tsx", fileURLToPath(new URL("mail_child.ts", import.meta.url)), s.db.url, s.server.url],
    { stdio: "inherit" },
  );
  const gone = new Promise((resolve) => child.on("exit", resolve));
  try {
    await eventually(() => asked === 1, { deadlineMs: 20_000 });
    assert.equal(await s.states("u1"), ["1:sending"]);
  } finally {
    child.kill("SIGKILL");
    await gone;
  }
  s.server.onRecipient = () => "accept";
  await s.notify("u2", "another's");
  s.mailer({ timing: { leaseSeconds: 2 } });
  await eventually(async () => assert.equal(await s.states("u2"), ["1:sent"]));
  await becomes("1:unknown");
  assert.equal(s.results.sort(), ["sent", "unknown"]);
  await pause(300);
  assert.equal(
    s.server.mails.map(({ to }) => to[0]),
    ["u2@example.com"],
  );
});

test("an answer later than the lease still settles what was taken for unknown", async () => {
  let answer: (verdict: "accept") => void = () => {};
  s.server.onMessage = () => new Promise((resolve) => (answer = resolve));
  await s.notify("u1", "slow");
  s.mailer({ timing: { leaseSeconds: 1, lanes: 1 } });
  await becomes("1:sending");
  s.mailer({ timing: { leaseSeconds: 1 } });
  await becomes("1:unknown");
  answer("accept");
  await becomes("1:sent");
  assert.is(s.server.mails.length, 1);
});

test("stopping waits for the mail that is under way", async () => {
  let answer: ((verdict: "accept") => void) | undefined;
  s.server.onMessage = () => new Promise((resolve) => (answer = resolve));
  await s.notify("u1", "under way");
  await s.notify("u2", "not begun");
  const mailer = s.mailer({ timing: { lanes: 1 } });
  await eventually(() => answer !== undefined);
  const stopped = mailer.stop();
  await pause(100);
  answer!("accept");
  await stopped;
  assert.equal([await s.states("u1"), await s.states("u2")], [["1:sent"], ["1:pending"]]);
});

test("operators see what is dead or unknown, and have one or all of it tried again", async () => {
  s.server.onMessage = ({ to }) => (to[0]!.startsWith("u1@") ? "drop" : 550);
  for (const user of ["u1", "u2", "u3"]) await s.notify(user, "x");
  s.mailer();
  await eventually(async () => {
    const [row] = await s.sql`select count(*)::int n from tidings.email where state in ('dead', 'unknown')`;
    return row!.n === 3;
  });
  const dead = await s.sql`select user_id, state from tidings.emails('dead')`;
  assert.equal(dead.map(({ user_id }) => user_id).sort(), ["u2", "u3"]);
  assert.is((await s.sql`select from tidings.emails()`).length, 3);
  s.server.onMessage = () => "accept";
  const [one] = await s.sql`select tidings.retry_email('u1', 1) done, tidings.retry_email('u1', 99) none`;
  assert.equal([one!.done, one!.none], [true, false]);
  const [all] = await s.sql`select tidings.retry_email('dead') many`;
  assert.is(all!.many, 2);
  s.mailer();
  await eventually(() => s.server.mails.length === 3);
  await becomes("1:sent");
  const refused = await s.sql`select tidings.retry_email('sent')`.catch((error: Error) => error);
  assert.match(String(refused), "dead or unknown can be tried again");
});

test("what was read before an operator had it tried again is not sent", async () => {
  s.server.onMessage = () => 550;
  await s.notify("u1", "x");
  const first = s.mailer();
  await becomes("1:dead");
  await first.stop();
  await s.sql`select tidings.mark_all_read('u1')`;
  await s.sql`select tidings.retry_email('u1', 1)`;
  s.mailer();
  await becomes("1:cancelled");
});

test("results are recorded although the database was away when they came", async () => {
  const own = s.db.connect({ max: 5, name: "cut" });
  s.server.onMessage = async () => {
    await s.sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tidings cut'`;
    return "accept" as const;
  };
  await s.notify("u1", "x");
  s.mailer({ sql: own });
  await becomes("1:sent");
  assert.is(s.server.mails.length, 1);
});

test.run();
