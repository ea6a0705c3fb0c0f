/** What contenders have reached in the rounds so far, as the rows of a table. */
import type { Contender } from "./contender.ts";
import { median } from "./numbers.ts";

type Cell = string | number;

export interface Scores<Key extends string> {
  add(one: Contender, round: Readonly<Record<Key, number>>): void;
  /** The median over the rounds. */
  of(one: Contender, key: Key): number;
  /** The medians by name, for a figure. */
  values(key: Key): Record<string, number>;
  row(label: string, key: Key): Cell[];
  /** To the first contender, which gets a cell itself. */
  ratios(label: string, key: Key): Cell[];
}

export function createScores<Key extends string>(contenders: readonly Contender[]): Scores<Key> {
  const rounds = new Map<Contender, Readonly<Record<Key, number>>[]>(contenders.map((one) => [one, []]));
  const of = (one: Contender, key: Key): number => median(rounds.get(one)!.map((round) => round[key]));
  return {
    add: (one, round) => rounds.get(one)!.push(round),
    of,
    values: (key) => Object.fromEntries(contenders.map((one) => [one.name, of(one, key)])),
    row: (label, key) => [label, ...contenders.map((one) => of(one, key))],
    ratios: (label, key) => [label, ...contenders.map((one) => of(one, key) / of(contenders[0]!, key))],
  };
}
