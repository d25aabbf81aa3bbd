/** Marks on the time axis. */
import type { Annotation, Dashboard } from './dashboard';
import { seriesName } from './frames';
import { interpolate, type Scope } from './interpolation';
import { queryOver, type Range } from './prometheus';

export interface Mark {
  /** Milliseconds since the epoch. */
  from: number;
  to: number;
  title: string;
  text: string;
  color: string;
}

/** The stretches of time over which a series has values. */
export function stretches(times: number[], step: number): [number, number][] {
  const result: [number, number][] = [];
  for (const time of times) {
    const last = result.at(-1);
    if (last && time - last[1] <= step) {
      last[1] = time;
    } else {
      result.push([time, time]);
    }
  }
  return result;
}

async function marksOf(annotation: Annotation, scope: Scope, range: Range, signal: AbortSignal): Promise<Mark[]> {
  const expression = interpolate(annotation.expr, scope, 'promql');
  const found = await queryOver(expression, range, signal);
  return found.flatMap(({ metric, values }) =>
    stretches(values.map(([time]) => time), range.step).map(([from, to]) => ({
      from: from * 1000,
      to: to * 1000,
      title: seriesName(metric, annotation.titleFormat ?? annotation.name, expression),
      text: Object.entries(metric).map(([label, value]) => `${label}: ${value}`).join('\n'),
      color: annotation.iconColor,
    })),
  );
}

/** Ask for the marks of all annotations, first the earliest. */
export async function loadMarks(dashboard: Dashboard, scope: Scope, range: Range, signal: AbortSignal): Promise<Mark[]> {
  const marks = await Promise.all(dashboard.annotations.list.map((one) => marksOf(one, scope, range, signal)));
  return marks.flat().sort((a, b) => a.from - b.from);
}
