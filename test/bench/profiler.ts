/** Takes profiles of servers while something runs, both of their JavaScript and of what their database does meanwhile. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Server } from "./contender.ts";
import { hotTable } from "./hot.ts";
import { forgetStatements, statementTable } from "./statements.ts";

export interface Profiler {
  /** Runs `work`, with `--profile` under a profile of the server, whose table follows the scenario's. */
  profiled<T>(server: Server, what: string, work: () => Promise<T>): Promise<T>;
  /** The profiles taken since it was last asked for, as Markdown. */
  profileReport(): string;
}

/** @param folder for the profiles' files; without it nothing is profiled */
export function createProfiler(folder: string | undefined): Profiler {
  const reports: string[] = [];
  return {
    async profiled(server, what, work) {
      if (!folder) return work();
      await forgetStatements(server.database.sql);
      const { result, profile } = await server.probe.profile(work);
      reports.push(`Where ${server.name}'s time goes: ${what}.`);
      if (profile) {
        const file = join(folder, `${server.name} ${what}.cpuprofile`.replaceAll(/[ /]+/g, "-"));
        writeFileSync(file, profile);
        reports.push(hotTable(profile));
      }
      reports.push(await statementTable(server.database.sql));
      return result;
    },
    profileReport: () => reports.splice(0).join("\n\n"),
  };
}
