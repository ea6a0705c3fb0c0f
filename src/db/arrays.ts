/**
 * One-dimensional arrays of the built-in types, for postgres.js. Its own way is a query of the catalogs on every new
 * connection, and when that connection breaks just then, a rejection nobody handles, which ends a Node process.
 * Values go in as plain arrays with a cast (`${ids}::bigint[]`), and come back as plain arrays.
 */
import type { PostgresType } from "postgres";

type Parse = (text: string) => unknown;

/** The text form of a Postgres array: `{a,"b \"c\"",NULL}`. What is text already stays as it is. */
export function arrayToText(values: readonly unknown[] | string): string {
  if (typeof values === "string") return values;
  const element = (value: unknown): string => {
    if (value === null) return "NULL";
    if (value === undefined) throw new TypeError("an array for Postgres holds undefined: use null");
    const plain =
      value instanceof Date ? value.toISOString() : typeof value === "object" ? JSON.stringify(value) : value;
    return `"${String(plain).replace(/["\\]/g, "\\$&")}"`;
  };
  return `{${values.map(element).join(",")}}`;
}

/** Reads the text form; `parse` makes a value of each element's text. */
export function arrayFromText(text: string, parse: Parse): unknown[] {
  // Bounds other than 1 stand before the braces: [0:2]={…}
  const body = text.slice(text.indexOf("{") + 1, -1);
  const elements = body.matchAll(/"((?:[^"\\]|\\.)*)"|([^",]+)/gs);
  return [...elements].map(([, quoted, bare]) => {
    if (quoted !== undefined) return parse(quoted.replace(/\\(.)/gs, "$1"));
    return bare === "NULL" ? null : parse(bare!);
  });
}

const text: Parse = (value) => value;
/** Array type, and how its elements are read. Those of bigint are the caller's. */
const ELEMENTS: readonly [oid: number, parse: Parse][] = [
  [1000, (value) => value === "t"], // boolean
  [1003, text], // name
  [1005, Number], // smallint
  [1007, Number], // integer
  [1009, text], // text
  [1015, text], // varchar
  [1022, Number], // double precision
  [1185, (value) => new Date(value)], // timestamptz
  [2951, text], // uuid
  [3807, (value) => JSON.parse(value)], // jsonb
];
export const BIGINT_ARRAY = 1016;

/** The array types that are known, and how the text of each is read. */
export function arrayReaders(parseBigint: Parse): ReadonlyMap<number, Parse> {
  const all: [number, Parse][] = [
    ...ELEMENTS.map(([oid, parse]): [number, Parse] => [oid, parse]),
    [BIGINT_ARRAY, parseBigint],
  ];
  return new Map(all.map(([oid, parse]) => [oid, (value) => arrayFromText(value, parse)]));
}

/** The types option of postgres.js for these arrays. */
export function arrayTypes(parseBigint: Parse): Record<string, PostgresType> {
  return Object.fromEntries(
    [...arrayReaders(parseBigint)].map(([oid, parse]) => [
      `array_${oid}`,
      { to: oid, from: [oid], serialize: arrayToText, parse },
    ]),
  );
}
