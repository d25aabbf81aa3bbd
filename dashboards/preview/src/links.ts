/** Links between dashboards. */
import { locationUtil, type InterpolateFunction, type ScopedVars, type TimeRange } from '@grafana/data';
import type { Link } from './dashboard';
import { interpolate, type Format, type Scope } from './interpolation';
import { rangeText } from './time';

// Grafana's own cleaning of addresses decodes them, so that a value with `&` would become two; `safeAddress` does it.
locationUtil.initialize({
  config: { appSubUrl: '', disableSanitizeHtml: true } as Parameters<typeof locationUtil.initialize>[0]['config'],
  getVariablesUrlParams: () => ({}),
  getTimeRangeForUrl: () => ({ from: 'now-6h', to: 'now' }),
});

/** The address, or an empty page where it would lead to script: a label's value may become one. */
export function safeAddress(address: string): string {
  const { protocol } = URL.parse(address, window.location.origin) ?? { protocol: '' };
  return protocol === 'http:' || protocol === 'https:' ? address : 'about:blank';
}

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
  return safeAddress(kept.length ? `${link.url}${link.url.includes('?') ? '&' : '?'}${kept.join('&')}` : link.url);
}

/** Grafana's own signature of interpolation, for titles and for the links of fields. */
export function replaceFunction(scope: Scope, range: TimeRange): InterpolateFunction {
  const macros = { ...scope.macros, __url_time_range: timeParameters(range) };
  return (text: string | undefined, scopedVars?: ScopedVars, format?: unknown) =>
    interpolate(text ?? '', { ...scope, macros }, (format === undefined ? 'text' : 'raw') satisfies Format, scopedVars);
}
