/** REST over tasks (CONTRACT section 8). Parse, call, answer. */
import { Hono } from "hono";
import { z } from "zod";
import type { Sql } from "../db/client.ts";
import type { Env } from "../http/env.ts";
import { check, idNumber, idParam, page, route, text } from "../http/schema.ts";
import { callerOf } from "./caller.ts";
import { attachment, line, pageQuery, task, taskStatus } from "./schema.ts";
import { createTasks } from "./tasks.ts";

const newTask = z.strictObject({
  title: line(500),
  assignee_id: idNumber.nullish(),
  due_at: z.iso.datetime({ offset: true }).nullish(),
});

/** A link that others will click: no javascript: and no data:. */
const url = text(2_000, 1).refine((value) => /^(https?:\/\/|\/(?!\/))/i.test(value), "must begin with https:// or /");

export function taskRoutes(sql: Sql): Hono<Env> {
  const app = new Hono<Env>();
  const tasks = createTasks(sql);
  app.get(
    "/tasks",
    route("Tasks you made or are to do, newest first", "tasks", 200, page(task)),
    check("query", pageQuery.extend({ status: taskStatus.optional() })),
    async (c) => c.json(await tasks.list(callerOf(c.get("identity").userId), c.req.valid("query"))),
  );
  app.post("/tasks", route("Makes a task", "tasks", 201, task), check("json", newTask), async (c) => {
    const { title, assignee_id: assigneeId, due_at: dueAt } = c.req.valid("json");
    const made = await tasks.make(callerOf(c.get("identity").userId), {
      title,
      assigneeId: assigneeId ?? undefined,
      dueAt: dueAt ?? undefined,
    });
    return c.json(made, 201);
  });
  app.post(
    "/tasks/:id/update_status",
    route("Changes the status of a task", "tasks", 200, task),
    check("param", idParam),
    check("json", z.strictObject({ status: taskStatus, reason: text(1_000).optional() })),
    async (c) => {
      const { status, reason } = c.req.valid("json");
      const caller = callerOf(c.get("identity").userId);
      return c.json(await tasks.updateStatus(caller, c.req.valid("param").id, status, reason));
    },
  );
  app.post(
    "/tasks/:id/attachments",
    route("Attaches a file, by its address, to a task", "tasks", 201, attachment),
    check("param", idParam),
    check("json", z.strictObject({ name: line(255), url })),
    async (c) => {
      const { name, url } = c.req.valid("json");
      const caller = callerOf(c.get("identity").userId);
      return c.json(await tasks.attach(caller, c.req.valid("param").id, name, url), 201);
    },
  );
  return app;
}
