-- Whether a task was made inside the reminder window is told by created_at; a due_at moved into it is reminded of.

drop trigger if exists touch_due on app.task;
drop function if exists app.touch_due();
alter table app.task drop column due_set_at;
