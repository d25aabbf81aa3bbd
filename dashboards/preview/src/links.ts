/** Links between dashboards. */
import { locationUtil, type InterpolateFunction, type ScopedVars, type TimeRange } from '@grafana/data';
import type { Link } from './dashboard';
import { interpolate, type Format, type Scope } from './interpolation';
import { rangeText } from './time';

// Grafana's links ask here for the path below which the application is, and for what to clean addresses of: a
// label's value may become one, so `javascript:` must not survive.
locationUtil.initialize({
  config: { appSubUrl: '', disableSanitizeHtml: false } as Parameters<typeof locationUtil.initialize>[0]['config'],
  getVariablesUrlParams: () => ({}),
  getTimeRangeForUrl: () => ({ from: 'now-6h', to: 'now' }),
});

/** The part of an address that keeps a range. */
export function timeParameters(range: TimeRange): string {
  return new URLSearchParams({ from: rangeText(range.raw.from), to: rangeText(range.raw.to) }).toString();
}

/** The address that a dashboard's link leads to. */
export function linkAddress(link: Link, scope: Scope, range: TimeRange): string {
  const kept = [
    ...(link.keepTime ? [timeParameters(range)] : []),
    ...(link.includeVars ? scope.variables.map((variable) => interpolate(`\${${variable.name}:queryparam}`, scope, 'raw')) : []),
  ];
  return locationUtil.processUrl(kept.length ? `${link.url}${link.url.includes('?') ? '&' : '?'}${kept.join('&')}` : link.url);
}

/** Grafana's own signature of interpolation, for titles and for the links of fields. */
export function replaceFunction(scope: Scope, range: TimeRange): InterpolateFunction {
  const macros = { ...scope.macros, __url_time_range: timeParameters(range) };
  return (text: string | undefined, scopedVars?: ScopedVars, format?: unknown) =>
    interpolate(text ?? '', { ...scope, macros }, (format === undefined ? 'text' : 'raw') satisfies Format, scopedVars);
}
