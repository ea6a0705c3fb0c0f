/** The tab of tasks: make one with a deadline, watch it run out, change its status. The server says when it is overdue. */
import { h, setText } from "../client/bell/dom.ts";
import { shown } from "./describe.ts";
import { button, empty, fill, glyph, type Kept, keyed, select } from "./elements.ts";
import { peopleOf, strangers, type Tab, type TabContext } from "./people.ts";
import type { Session } from "./session.ts";
import { type Task, withItem } from "./world.ts";

const DEADLINES = [
  ["5", "in 5 seconds"],
  ["60", "in a minute"],
  ["86400", "tomorrow"],
  ["", "no deadline"],
] as const;

const STATUSES = [
  ["todo", "To do"],
  ["in_progress", "In progress"],
  ["done", "Done"],
  ["cancelled", "Cancelled"],
] as const;

export function tasksTab(context: TabContext): Tab {
  const { session } = context;
  const list = h("ul", { class: "rows", "aria-label": "Tasks" });
  const nothing = empty("No tasks yet", "Give somebody one with a short deadline and watch it become overdue.");
  const { form, draw: drawForm } = taskForm(context);
  const drawList = keyed<Task>(
    list,
    ({ id }) => id,
    (task) => taskRow(context, task),
  );
  return {
    element: h("div", { class: "stack" }, form, list, nothing),
    draw: () => {
      const world = session.world();
      drawForm();
      drawList(world.tasks);
      nothing.hidden = world.tasks.length > 0;
    },
  };
}

function remember(session: Session, task: Task): void {
  session.change((world) => ({ ...world, tasks: withItem(world.tasks, task) }));
}

function taskForm({ session, attempt }: TabContext): { form: HTMLElement; draw(): void } {
  const title = h("input", {
    class: "field grow",
    "aria-label": "Title of the task",
    placeholder: "What is to be done?",
    required: true,
    maxlength: "200",
    value: "Send the report",
  });
  const whom = select("Who does it", []);
  const due = select("Deadline", DEADLINES);
  const submit = h("button", { class: "primary" }, "Add task");
  const form = h("form", { class: "composer" }, title, whom, due, submit);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const due_at = due.value ? new Date(Date.now() + Number(due.value) * 1_000).toISOString() : null;
    const task = { title: title.value, assignee_id: Number(whom.value), due_at };
    attempt(session.send("POST", "/api/tasks", task).then((made) => remember(session, made as Task)));
  });
  return {
    form,
    draw: () => {
      const others = peopleOf(session.me, session.world(), strangers());
      fill(whom, [
        ...others.map((person) => [`${person.id}`, `for ${shown(person)}`] as const),
        [`${session.me.id}`, "for me"],
      ]);
    },
  };
}

function taskRow({ session, attempt }: TabContext, first: Task): Kept<Task> {
  let task = first;
  const title = h("span", { class: "row-title" });
  const about = h("span", { class: "row-about" });
  const status = select("Status", STATUSES);
  const done = button("check", () => put("done"), glyph("check"));
  const element = h(
    "li",
    { class: "row task" },
    done,
    h("span", { class: "row-body" }, title, about),
    h("span", { class: "row-actions" }, status),
  );
  status.addEventListener("change", () => put(status.value));

  function put(next: string): void {
    const changed = session.send("POST", `/api/tasks/${task.id}/update_status/`, { status: next });
    attempt(
      changed.then(
        (made) => remember(session, made as Task),
        (refusal) => {
          status.value = task.status;
          throw refusal;
        },
      ),
    );
  }

  return {
    element,
    update: (next) => {
      task = next;
      const { overdue, text } = dueOf(task, Date.now());
      const settled = task.status === "done" || task.status === "cancelled";
      setText(title, task.title);
      setText(about, [owners(session, task), text].filter(Boolean).join(" · "));
      element.classList.toggle("overdue", overdue);
      element.classList.toggle("settled", settled);
      done.setAttribute("aria-label", `Mark as done: ${task.title}`);
      done.disabled = settled;
      status.disabled = settled;
      if (document.activeElement !== status) status.value = task.status;
    },
  };
}

function owners({ me }: Session, { creator, assignee }: Task): string {
  const name = (user: { id: number; username: string }): string => (user.id === me.id ? "you" : shown(user));
  return assignee && assignee.id !== creator.id ? `${name(creator)} to ${name(assignee)}` : name(creator);
}

/** What is to be said of a deadline; seconds are counted down. */
export function dueOf({ due_at, status }: Task, now: number): { overdue: boolean; text: string } {
  if (!due_at || status === "done" || status === "cancelled") return { overdue: false, text: "" };
  const seconds = Math.ceil((Date.parse(due_at) - now) / 1_000);
  if (seconds <= 0) return { overdue: true, text: "overdue" };
  if (seconds < 120) return { overdue: false, text: `due in ${seconds} s` };
  const day = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "numeric", minute: "2-digit" });
  return { overdue: false, text: `due ${day.format(new Date(due_at))}` };
}
