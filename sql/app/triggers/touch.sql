-- Keeps updated_at, whoever writes the row.

create or replace function app.touch() returns trigger
language plpgsql
set search_path = app, pg_temp
as $$
begin
  new.updated_at := clock_timestamp();
  return new;
end $$;

create or replace trigger touch before update on app.invite for each row execute function app.touch();
create or replace trigger touch before update on app.friendship for each row execute function app.touch();
create or replace trigger touch before update on app.task for each row
  when (old.title is distinct from new.title or old.status is distinct from new.status
    or old.assignee_id is distinct from new.assignee_id or old.due_at is distinct from new.due_at)
  execute function app.touch();
