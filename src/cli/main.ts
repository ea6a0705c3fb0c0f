#!/usr/bin/env node
/** The command line: picks a command, turns what it throws into one line and an exit code. */
import process from "node:process";
import { describe, TidingsError } from "../errors.ts";

interface Command {
  readonly help: string;
  load(): Promise<{ run(args: readonly string[]): Promise<number> }>;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  serve: { help: "Run the server", load: () => import("./serve.ts") },
  token: { help: "Print a token for a user", load: () => import("./token.ts") },
};

function usage(): string {
  const lines = Object.entries(COMMANDS).map(([name, { help }]) => `  ${name.padEnd(10)} ${help}`);
  return `Usage: tidings <command> [options]\n\nCommands:\n${lines.join("\n")}\n\ntidings <command> --help tells more.\n`;
}

async function main(): Promise<number> {
  const [name, ...args] = process.argv.slice(2);
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    (name === undefined ? process.stderr : process.stdout).write(usage());
    return name === undefined ? 2 : 0;
  }
  const command = COMMANDS[name];
  if (!command) {
    process.stderr.write(`tidings: there is no command ${JSON.stringify(name)}\n\n${usage()}`);
    return 2;
  }
  return (await command.load()).run(args);
}

main().then(
  (code) => process.exit(code),
  (error) => {
    // a mistake of the user is told in its own words; anything else keeps its stack, for the report
    const known = error instanceof TidingsError;
    process.stderr.write(`tidings: ${known ? describe(error) : ((error as Error)?.stack ?? String(error))}\n`);
    process.exit(known ? 1 : 70);
  },
);
