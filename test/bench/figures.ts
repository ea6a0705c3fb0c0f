/**
 * The figures of a whole run, for the table at its end: one line each with all contenders beside each other, and the
 * ratios that we set ourselves, held or missed.
 */
import { show, table } from "./numbers.ts";

export interface Figure {
  readonly label: string;
  /** By contender; text where there is no number to give. */
  readonly values: Readonly<Record<string, number | string>>;
  /** Further ones that goals are set to, told with the label. */
  readonly beside?: Readonly<Record<string, number>>;
  readonly goals?: readonly Goal[];
}

/** Wanted of Tidings' figure divided by another's, or without another, of itself. */
export interface Goal {
  readonly of?: string;
  readonly most?: number;
  readonly least?: number;
}

const OURS = "tidings";

export function createFigures(): { add(figure: Figure): void; report(): string } {
  const all: Figure[] = [];
  return {
    add: (figure) => all.push(figure),
    report: () => (all.length === 0 ? "" : `${overview(all)}\n\n${goals(all)}`),
  };
}

function ratio({ values, beside }: Figure, to: string | undefined): number {
  const [ours, other] = [values[OURS], to === undefined ? 1 : (values[to] ?? beside?.[to])];
  return typeof ours === "number" && typeof other === "number" ? ours / other : Number.NaN;
}

function overview(figures: readonly Figure[]): string {
  const names = [...new Set(figures.flatMap((one) => Object.keys(one.values)))];
  const rows = figures.map((one) => [
    one.label +
      Object.entries(one.beside ?? {})
        .map(([name, value]) => ` (${name}: ${show(value)})`)
        .join(""),
    ratio(one, "floor"),
    ...names.map((name) => one.values[name] ?? ""),
  ]);
  return table(["", "tidings : floor", ...names], rows);
}

function goals(figures: readonly Figure[]): string {
  const rows = figures.flatMap((figure) =>
    (figure.goals ?? []).map(({ of, most, least }): string[] => {
      const is = ratio(figure, of);
      const held = is <= (most ?? Number.POSITIVE_INFINITY) && is >= (least ?? Number.NEGATIVE_INFINITY);
      const wanted = most === undefined ? `at least ${least}` : `at most ${most}`;
      return [
        `${figure.label}${of === undefined ? "" : `, to ${of}`}`,
        wanted,
        show(is),
        Number.isNaN(is) ? "–" : held ? "held" : "missed",
      ];
    }),
  );
  return rows.length === 0 ? "" : table(["goal", "wanted", "is", ""], rows);
}
