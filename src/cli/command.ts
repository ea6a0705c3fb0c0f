/**
 * What a command is, and how its options are read: one specification gives the parser, the help text and the refusal of
 * whatever is not in it. A mistake of the caller is a UsageError: one line and exit code 2, never a stack.
 */
import { type ParseArgsConfig, parseArgs } from "node:util";

/** Exit codes: 0 done, 1 refused or a check failed, 2 called wrongly, 70 a bug of ours. */
export type ExitCode = 0 | 1 | 2 | 70;

export interface Option {
  /** The placeholder of its value; without one it is a switch. */
  readonly value?: string;
  readonly help: string;
  readonly short?: string;
}

export interface Command {
  /** What follows the command's name. */
  readonly usage: string;
  /** Sentences for --help, the first of which stands in the list of commands. */
  readonly about: string;
  readonly options: Readonly<Record<string, Option>>;
  run(input: Input): Promise<ExitCode>;
}

/** What was given on the command line. */
export interface Input {
  readonly words: readonly string[];
  is(option: string): boolean;
  text(option: string): string | undefined;
  /** A whole number in the range. Throws UsageError. */
  whole(option: string, least: number, most: number): number | undefined;
  /** A JSON object. Throws UsageError. */
  object(option: string): Record<string, unknown> | undefined;
}

export class UsageError extends Error {}

/** @throws UsageError for what is not specified */
export function readInput(command: Command, args: readonly string[]): Input {
  const { values, positionals } = parse(command, args);
  const text = (option: string): string | undefined => values[option] as string | undefined;
  return {
    words: positionals,
    is: (option) => values[option] === true,
    text,
    whole(option, least, most) {
      const value = text(option);
      if (value === undefined) return undefined;
      if (/^\d{1,16}$/.test(value) && Number(value) >= least && Number(value) <= most) return Number(value);
      throw new UsageError(`--${option} takes a whole number from ${least} to ${most}, not ${JSON.stringify(value)}.`);
    },
    object(option) {
      const value = text(option);
      if (value === undefined) return undefined;
      const parsed = jsonOf(value);
      if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) {
        return parsed as Record<string, unknown>;
      }
      throw new UsageError(`--${option} takes a JSON object, such as '{"task_id": 42}'.`);
    },
  };
}

function parse(command: Command, args: readonly string[]): { values: Record<string, unknown>; positionals: string[] } {
  const options: NonNullable<ParseArgsConfig["options"]> = { help: { type: "boolean", short: "h" } };
  for (const [name, { value, short }] of Object.entries(command.options)) {
    options[name] = { type: value ? "string" : "boolean", ...(short ? { short } : {}) };
  }
  try {
    return parseArgs({ args: [...args], allowPositionals: true, options });
  } catch (error) {
    if (!String((error as { code?: unknown }).code).startsWith("ERR_PARSE_ARGS")) throw error;
    // its first sentence says what is wrong; the others explain how to begin a positional with a dash
    throw new UsageError(`${(error as Error).message.split(/\.\s/)[0]!.replace(/\.$/, "")}.`);
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The text of `tidings NAME --help`. */
export function helpOf(name: string, { usage, about, options }: Command): string {
  const lines = Object.entries(options).map(([option, { value, help, short }]) => {
    const head = `${short ? `-${short}, ` : ""}--${option}${value ? ` ${value}` : ""}`;
    return `  ${head.padEnd(22)} ${help}`;
  });
  const listed = lines.length > 0 ? `\n\n${lines.join("\n")}` : "";
  return `Usage: tidings ${name}${usage ? ` ${usage}` : ""}\n\n${about}${listed}\n`;
}
