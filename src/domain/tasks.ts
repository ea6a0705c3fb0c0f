/**
 * Tasks: those the caller made or is to do, their status and attachments. To everybody else a task does not exist. Any status
 * goes to any other, except out of done or cancelled. Writes rows, never frames.
 */
import type { Sql } from "../db/client.ts";
import { TidingsError } from "../errors.ts";
import type { Timestamp, UserRef } from "../protocol/frames.ts";
import { acting, answerOf, type Caller, reading } from "./caller.ts";
import { type Page, type PageQuery, pageOf } from "./page.ts";

export type TaskStatus = "todo" | "in_progress" | "done" | "cancelled";

export interface Task {
  id: number;
  title: string;
  creator: UserRef;
  assignee: UserRef | null;
  status: TaskStatus;
  status_reason: string | null;
  due_at: Timestamp | null;
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface Attachment {
  id: number;
  task_id: number;
  name: string;
  url: string;
  uploader: UserRef | null;
  created_at: Timestamp;
}

export interface NewTask {
  readonly title: string;
  readonly assigneeId?: number | undefined;
  /** An ISO 8601 time with its offset. */
  readonly dueAt?: string | undefined;
}

export interface Tasks {
  list(caller: Caller, query: PageQuery & { status?: TaskStatus | undefined }): Promise<Page<Task>>;
  /** @throws "invalid" for an assignee that does not exist. */
  make(caller: Caller, task: NewTask): Promise<Task>;
  /** @throws "not_found" for another's task, "conflict" where it is done or cancelled. */
  updateStatus(caller: Caller, id: number, status: TaskStatus, reason: string | undefined): Promise<Task>;
  /** @throws "not_found" for another's task. */
  attach(caller: Caller, id: number, name: string, url: string): Promise<Attachment>;
}

export function createTasks(sql: Sql): Tasks {
  const mine = sql`(t.creator_id = me.id or t.assignee_id = me.id)`;
  const missing = (id: number) => new TidingsError("not_found", `You have no task ${id}.`);
  return {
    async list(caller, { status, before, limit }) {
      const rows = await sql<{ item: Task | null }[]>`
        with ${reading(sql, caller)}
        select case when t.id is not null then app.task_json(t) end as item from me left join lateral (
          select * from app.task t where ${mine} ${status ? sql`and t.status = ${status}` : sql``}
            ${before === undefined ? sql`` : sql`and t.id < ${before}`}
          order by t.id desc limit ${limit + 1}
        ) t on true order by t.id desc`;
      return pageOf(rows, limit);
    },

    async make(caller, { title, assigneeId, dueAt }) {
      const rows = await sql<{ task: Task | null }[]>`
        with ${acting(sql, caller)}, made as (
          insert into app.task (title, creator_id, assignee_id, due_at)
          select ${title}, me.id, u.id, ${dueAt ?? null}::text::timestamptz
          from me left join app."user" u on u.id = ${assigneeId ?? null}
          where u.id is not null or ${assigneeId === undefined}
          returning *
        )
        select (select app.task_json(m) from made m) as task from me`;
      const { task } = answerOf(rows);
      if (!task) throw new TidingsError("invalid", `assignee_id: there is no user ${assigneeId}.`);
      return task;
    },

    async updateStatus(caller, id, status, reason) {
      const rows = await sql<{ status: TaskStatus | null; task: Task | null }[]>`
        with ${acting(sql, caller)}, found as materialized (
          select t.* from me join app.task t on ${mine} where t.id = ${id} for update of t
        ), changed as (
          update app.task t set status = ${status}, status_reason = ${reason ?? null} from found f
          where t.id = f.id and f.status in ('todo', 'in_progress') returning t.*
        )
        select f.status, (select app.task_json(c) from changed c) as task from me left join found f on true`;
      const { status: was, task } = answerOf(rows);
      if (was === null) throw missing(id);
      if (!task) throw new TidingsError("conflict", `This task is ${was}, and stays so.`);
      return task;
    },

    async attach(caller, id, name, url) {
      const rows = await sql<{ attachment: Attachment | null }[]>`
        with ${acting(sql, caller)}, made as (
          insert into app.task_attachment (task_id, name, url, uploader_id)
          select t.id, ${name}, ${url}, me.id from me join app.task t on ${mine} where t.id = ${id}
          returning *
        )
        select (select app.attachment_json(m) from made m) as attachment from me`;
      const { attachment } = answerOf(rows);
      if (!attachment) throw missing(id);
      return attachment;
    },
  };
}
