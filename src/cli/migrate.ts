/** `tidings migrate`: brings the database to what this version needs, or tells what that would be. */
import process from "node:process";
import { type MigrationStep, migrate, migrationStatus } from "../db/migrate.ts";
import { type Command, UsageError } from "./command.ts";
import { withDatabase } from "./database.ts";

const TOLD: Readonly<Record<MigrationStep["state"], string>> = {
  applied: "applied",
  pending: "missing",
  changed: "to be run again",
};

export const command: Command = {
  usage: "[--status | --dry-run]",
  about:
    "Brings the schemas tidings and, unless DOMAIN=off, app to this version, in one transaction. `tidings serve` does the same\n" +
    "at its start; a server whose role does not own the schemas finds nothing left to do.",
  options: {
    status: { help: "list every step with its state; exit code 1 where something is missing" },
    "dry-run": { help: "tell what would be done, and do nothing" },
  },
  async run(input) {
    if (input.words.length > 0) throw new UsageError("it takes no arguments.");
    if (input.is("status") && input.is("dry-run")) throw new UsageError("choose --status or --dry-run.");
    return withDatabase(async (sql, { config }) => {
      const line = (text: string): void => void process.stdout.write(`${text}\n`);
      const { domain } = config;
      if (input.is("status")) {
        const steps = await migrationStatus(sql, { domain });
        for (const { name, state } of steps) line(`${name.padEnd(28)} ${TOLD[state]}`);
        return steps.every(({ state }) => state === "applied") ? 0 : 1;
      }
      const dryRun = input.is("dry-run");
      const steps = await migrate(sql, { domain, dryRun, log: line });
      if (dryRun) for (const { name } of steps) line(`would apply ${name}`);
      if (steps.length === 0) line("Nothing to do: the database is up to date.");
      return 0;
    });
  },
};
