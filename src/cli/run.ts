/** Runs one command of a table: help, usage, and what it throws as one line and an exit code. */
import process from "node:process";
import { describe, TidingsError } from "../errors.ts";
import { type Command, helpOf, readInput, UsageError } from "./command.ts";

export interface Entry {
  /** For the list of commands. */
  readonly help: string;
  load(): Promise<{ readonly command: Command }>;
}

export type Commands = Readonly<Record<string, Entry>>;

function usageOf(commands: Commands): string {
  const lines = Object.entries(commands).map(([name, { help }]) => `  ${name.padEnd(10)} ${help}`);
  return `Usage: tidings <command> [options]\n\nCommands:\n${lines.join("\n")}\n\ntidings <command> --help tells more.\n`;
}

/** Runs what `argv` says and resolves with the exit code. Never rejects. */
export async function runCli(commands: Commands, argv: readonly string[]): Promise<number> {
  const [name, ...args] = argv;
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    (name === undefined ? process.stderr : process.stdout).write(usageOf(commands));
    return name === undefined ? 2 : 0;
  }
  if (!Object.hasOwn(commands, name)) {
    process.stderr.write(`tidings: there is no command ${JSON.stringify(name)}\n\n${usageOf(commands)}`);
    return 2;
  }
  const { command } = await commands[name]!.load();
  try {
    const input = readInput(command, args);
    if (!input.is("help")) return await command.run(input);
    process.stdout.write(helpOf(name, command));
    return 0;
  } catch (error) {
    return refuse(name, command, error);
  }
}

function refuse(name: string, command: Command, error: unknown): number {
  if (error instanceof UsageError) {
    const more = `Usage: tidings ${name} ${command.usage}\ntidings ${name} --help tells more.`;
    process.stderr.write(`tidings ${name}: ${error.message}\n${more}\n`);
    return 2;
  }
  // a mistake of the user is told in its own words; anything else keeps its stack, for the report
  const known = error instanceof TidingsError;
  process.stderr.write(`tidings: ${known ? describe(error) : ((error as Error)?.stack ?? String(error))}\n`);
  return known ? 1 : 70;
}
