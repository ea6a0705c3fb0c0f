-- Every update of an inbox tidies its page, and pays for each row that lies there: a quarter as many of them as would fit.
-- Pages that are there keep their rows.
alter table tidings.inbox set (fillfactor = 25);
