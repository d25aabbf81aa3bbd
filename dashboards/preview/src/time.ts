/** The time range of a view, and what queries derive from it. */
import { dateMath, dateTime, rangeUtil, type DateTime, type RawTimeRange, type TimeRange } from '@grafana/data';

/** How often Prometheus is taken to scrape where a query does not say how often its series have samples. */
const SCRAPE_SECONDS = 15;
const SHORTEST_STEP_SECONDS = 5;

/** Turn `now-6h` or milliseconds since the epoch into a time; undefined where it is neither. */
function resolve(text: string | DateTime, roundUp: boolean): DateTime | undefined {
  const time = typeof text === 'string' && !/^\d+$/.test(text) ? dateMath.toDateTime(text, { roundUp }) : dateTime(typeof text === 'string' ? Number(text) : text);
  return time?.isValid() ? time : undefined;
}

/** Resolve a range at this moment; undefined where it is none. */
export function resolveRange(raw: RawTimeRange): TimeRange | undefined {
  const from = resolve(raw.from, false);
  const to = resolve(raw.to, true);
  return from && to && from.valueOf() < to.valueOf() ? { from, to, raw } : undefined;
}

/** What stands in an address for an end of a range. */
export function rangeText(end: string | DateTime): string {
  return typeof end === 'string' ? end : String(end.valueOf());
}

/** The absolute range that begins and ends later by these parts of the range's length. */
export function shifted(range: TimeRange, from: number, to: number): { from: string; to: string } {
  const length = range.to.valueOf() - range.from.valueOf();
  return {
    from: String(Math.round(range.from.valueOf() + from * length)),
    to: String(Math.round(range.to.valueOf() + to * length)),
  };
}

/** Seconds between two points of a query over the range, so that it gives about so many points, and at least its own interval. */
export function stepSeconds(range: TimeRange, points: number, interval?: string): number {
  const wanted = (range.to.valueOf() - range.from.valueOf()) / points;
  return Math.max(interval ? secondsOf(interval) : SHORTEST_STEP_SECONDS, Math.round(rangeUtil.roundInterval(wanted) / 1000));
}

function secondsOf(interval: string): number {
  return rangeUtil.intervalToMs(interval) / 1000;
}

/** Grafana's variables of time, as PromQL durations; a rate spans four samples at least. */
export function timeMacros(range: TimeRange, step: number, interval?: string): Record<string, string> {
  const samples = interval ? secondsOf(interval) : SCRAPE_SECONDS;
  const seconds = Math.round((range.to.valueOf() - range.from.valueOf()) / 1000);
  return {
    __interval: `${step}s`,
    __rate_interval: `${Math.max(4 * samples, step + samples)}s`,
    __range: `${seconds}s`,
  };
}
