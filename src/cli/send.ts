/** `tidings send`: what the SQL functions for producers do, from a terminal. */
import process from "node:process";
import { createProducer, type NewNotification, type Producer } from "../db/producer.ts";
import { type Command, type Input, UsageError } from "./command.ts";
import { withDatabase } from "./database.ts";

export const command: Command = {
  usage: "USER|--to-group GROUP --message TEXT [options]",
  about:
    "Sends a notification to a user or to the members of a group. With --transient, an event to the streams that are open now,\n" +
    "made of --event, or of --type and the fields of --data; it is not stored.",
  options: {
    title: { value: "TEXT", help: "the title" },
    message: { value: "TEXT", help: "the text; without one --event is stored alone" },
    type: { value: "TYPE", help: "the notification's type; notification" },
    data: { value: "JSON", help: 'extra fields, such as \'{"task_id": 42, "url": "/tasks/42"}\'' },
    event: { value: "JSON", help: "an event for reducers: an object with a type" },
    key: { value: "KEY", help: "the same key for the same user is stored once" },
    "to-group": { value: "GROUP", help: "to a group instead: user_42, room_7, notifications_ann" },
    transient: { help: "to open streams only" },
  },
  async run(input) {
    const [user, ...more] = input.words;
    const group = input.text("to-group");
    if (more.length > 0 || (user === undefined) === (group === undefined)) {
      throw new UsageError("it takes one user id, or --to-group.");
    }
    const transient = input.is("transient") ? eventOf(input) : undefined;
    const entry = transient ? {} : entryOf(input);
    const told = await withDatabase((sql) => {
      const producer = createProducer(sql, () => {});
      return group === undefined
        ? toUser(producer, user!, entry, transient)
        : toGroup(producer, group, entry, transient);
    });
    process.stdout.write(`${told}\n`);
    return 0;
  },
};

type Event = Record<string, unknown> | undefined;

async function toUser(producer: Producer, user: string, entry: NewNotification, event: Event): Promise<string> {
  if (event) await producer.notifyUser(user, event);
  else await producer.sendNotification(user, entry);
  return event ? `Told the open streams of user ${user}.` : `Stored for user ${user}.`;
}

async function toGroup(producer: Producer, group: string, entry: NewNotification, event: Event): Promise<string> {
  if (!event) return `Stored for ${await producer.sendToGroup(group, entry)} members of ${group}.`;
  await producer.notifyGroup(group, event);
  return `Told the open streams of ${group}.`;
}

function eventOf(input: Input): Record<string, unknown> {
  for (const option of ["title", "message", "key"]) {
    if (input.text(option) !== undefined)
      throw new UsageError(`--${option} is for what is stored, not with --transient.`);
  }
  const type = input.text("type");
  const event = input.object("event") ?? (type === undefined ? undefined : { type, ...input.object("data") });
  if (event === undefined) throw new UsageError("--transient takes --event, or --type and --data.");
  return event;
}

function entryOf(input: Input): NewNotification {
  const [message, event] = [input.text("message"), input.object("event")];
  if (message === undefined && event === undefined) throw new UsageError("it takes --message, or --event, or both.");
  const [title, type, key] = [input.text("title"), input.text("type"), input.text("key")];
  return { title, message, type, data: input.object("data"), event, key };
}
