/** What all panels of a dashboard are drawn from at one moment. */
import { useTheme2 } from '@grafana/ui';
import { useEffect, useRef, useState } from 'react';
import type { DataFrame, TimeRange } from '@grafana/data';
import { loadMarks, type Mark } from './annotations';
import type { Dashboard, Panel, Target } from './dashboard';
import { prepareFrames } from './fields';
import { tableFrame, timeSeriesFrames } from './frames';
import { interpolate, type Scope } from './interpolation';
import { replaceFunction } from './links';
import { queryAt, queryOver } from './prometheus';
import { stepSeconds, timeMacros } from './time';
import { loadVariables } from './variables';

export interface View {
  timeRange: TimeRange;
  timeZone: string;
  scope: Scope;
}

export interface Loaded<T> {
  value?: T;
  error?: Error;
  loading: boolean;
}

/** The result of a load, which starts again when a dependency changes; the last value stays until the next one is there. */
export function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, dependencies: readonly unknown[]): Loaded<T> {
  const [state, setState] = useState<Loaded<T>>({ loading: true });
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const abort = new AbortController();
    setState((before) => ({ ...before, loading: true }));
    latest.current(abort.signal).then(
      (value) => {
        if (!abort.signal.aborted) {
          setState({ value, loading: false });
        }
      },
      (reason: unknown) => {
        if (!abort.signal.aborted) {
          setState({ error: reason instanceof Error ? reason : new Error(String(reason)), loading: false });
        }
      },
    );
    return () => {
      abort.abort();
    };
  }, dependencies);
  return state;
}

/** Resolve the variables for a range of time. */
export function useView(dashboard: Dashboard, parameters: URLSearchParams, timeRange: TimeRange): Loaded<View> {
  const asked = dashboard.templating.list.map(({ name }) => parameters.getAll(`var-${name}`).join('\n')).join('\n\n');
  return useLoaded(
    async (signal) => {
      const variables = await loadVariables(dashboard, parameters, timeRange, signal);
      const timeZone = dashboard.timezone ?? 'browser';
      return { timeRange, timeZone, scope: { variables, macros: {} } };
    },
    [dashboard, asked, timeRange],
  );
}

/** Points of a query by the width of its panel on the grid; the same on every screen, so that a resize asks for nothing. */
const POINTS_PER_COLUMN = 40;
const ANNOTATION_POINTS = 500;

const secondsOf = (range: TimeRange) => ({ start: range.from.valueOf() / 1000, end: range.to.valueOf() / 1000 });

async function runTarget(target: Target, only: boolean, view: View, points: number, signal: AbortSignal): Promise<DataFrame[]> {
  const step = stepSeconds(view.timeRange, points, target.interval);
  const scope = { ...view.scope, macros: timeMacros(view.timeRange, step, target.interval) };
  const expression = interpolate(target.expr, scope, 'promql');
  const span = secondsOf(view.timeRange);
  if (target.format === 'table') {
    const found = await queryAt(expression, span.end, signal);
    return [tableFrame(found, target, only ? 'Value' : `Value #${target.refId}`)];
  }
  const found = target.instant ? await queryAt(expression, span.end, signal) : await queryOver(expression, { ...span, step }, signal);
  return timeSeriesFrames(found, target, expression, step);
}

/** The frames of a panel, asked for and prepared. */
export function usePanelFrames(panel: Panel, view: View): Loaded<DataFrame[]> {
  const theme = useTheme2();
  return useLoaded(
    async (signal) => {
      const targets = (panel.targets ?? []).filter((target) => !target.hide);
      const answers = await Promise.all(targets.map((target) => runTarget(target, targets.length === 1, view, panel.gridPos.w * POINTS_PER_COLUMN, signal)));
      const replace = replaceFunction(view.scope, view.timeRange);
      return prepareFrames(panel, answers.flat(), { theme, timeZone: view.timeZone, replace });
    },
    [panel, view, theme],
  );
}

/** The marks of a dashboard's annotations. */
export function useMarks(dashboard: Dashboard, view: View | undefined): Loaded<Mark[]> {
  return useLoaded(
    async (signal) => {
      if (!view) {
        return [];
      }
      const step = stepSeconds(view.timeRange, ANNOTATION_POINTS);
      const scope = { ...view.scope, macros: timeMacros(view.timeRange, step) };
      return loadMarks(dashboard, scope, { ...secondsOf(view.timeRange), step }, signal);
    },
    [dashboard, view],
  );
}
