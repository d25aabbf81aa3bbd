/** Prometheus' HTTP API, through the server that serves this page. */

export interface Series {
  metric: Record<string, string>;
  values: [number, string][];
}

export interface Range {
  /** Seconds since the epoch. */
  start: number;
  end: number;
  step: number;
}

/** A query that Prometheus refuses, or a Prometheus that does not answer. */
export class PrometheusError extends Error {
  override readonly name = 'PrometheusError';

  constructor(
    message: string,
    /** Whether there was no answer at all, so that no other query will have one. */
    readonly unavailable: boolean,
  ) {
    super(message);
  }
}

interface Answer {
  status?: string;
  error?: string;
  errorType?: string;
  data?: unknown;
}

interface QueryData {
  resultType: string;
  result: { metric: Record<string, string>; value?: [number, string]; values?: [number, string][] }[];
}

let underWay = 0;

/** How many requests wait for their answer. */
export function requestsUnderWay(): number {
  return underWay;
}

async function ask(path: string, signal: AbortSignal, form?: URLSearchParams): Promise<unknown> {
  underWay += 1;
  try {
    const response = await fetch(`/api/v1/${path}`, { method: form ? 'POST' : 'GET', body: form ?? null, signal });
    const answer = (await response.json()) as Answer;
    if (answer.status !== 'success') {
      throw new PrometheusError(answer.error ?? `Prometheus answers ${response.status}`, answer.errorType === 'unavailable');
    }
    return answer.data;
  } catch (error) {
    if (error instanceof PrometheusError || signal.aborted) {
      throw error;
    }
    throw new PrometheusError('the preview does not answer; is `windvane preview` still running?', true);
  } finally {
    underWay -= 1;
  }
}

/** Evaluate an expression at one time, in seconds since the epoch. */
export async function queryAt(expression: string, time: number, signal: AbortSignal): Promise<Series[]> {
  return series(await ask('query', signal, new URLSearchParams({ query: expression, time: String(time) })));
}

/** Evaluate an expression over a range; its ends are moved to whole steps, so that a refresh moves no point. */
export async function queryOver(expression: string, range: Range, signal: AbortSignal): Promise<Series[]> {
  const { step } = range;
  const form = new URLSearchParams({
    query: expression,
    start: String(Math.floor(range.start / step) * step),
    end: String(Math.floor(range.end / step) * step),
    step: String(step),
  });
  return series(await ask('query_range', signal, form));
}

function series(data: unknown): Series[] {
  const { resultType, result } = data as QueryData;
  if (resultType !== 'vector' && resultType !== 'matrix') {
    throw new PrometheusError(`the query gives a ${resultType}, which no panel shows`, false);
  }
  return result.map(({ metric, value, values }) => ({ metric, values: values ?? (value ? [value] : []) }));
}

/** The values that a label has on the series that match. */
export async function labelValues(label: string, match: string | undefined, range: Omit<Range, 'step'>, signal: AbortSignal): Promise<string[]> {
  const parameters = new URLSearchParams({ start: String(range.start), end: String(range.end) });
  if (match) {
    parameters.set('match[]', match);
  }
  return (await ask(`label/${encodeURIComponent(label)}/values?${parameters}`, signal)) as string[];
}
