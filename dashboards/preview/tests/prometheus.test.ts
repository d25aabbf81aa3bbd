import { afterEach, expect, test, vi } from 'vitest';
import { PrometheusError, queryAt, queryOver, requestsUnderWay } from '../src/prometheus';

const { signal } = new AbortController();

afterEach(() => {
  vi.unstubAllGlobals();
});

function answer(body: object, status = 200) {
  const fetch = vi.fn<(url: string, options: { body: URLSearchParams }) => Promise<Response>>(() => Promise.resolve(new Response(JSON.stringify(body), { status })));
  vi.stubGlobal('fetch', fetch);
  return fetch;
}

test('a range begins and ends on whole steps, so that a refresh moves no point', async () => {
  const fetch = answer({ status: 'success', data: { resultType: 'matrix', result: [] } });
  await queryOver('up', { start: 61, end: 119, step: 60 }, signal);
  const [url, options] = fetch.mock.calls[0] ?? [];
  expect(url).toBe('/api/v1/query_range');
  expect(Object.fromEntries(options?.body ?? [])).toEqual({ query: 'up', start: '60', end: '60', step: '60' });
});

test("Prometheus' refusal is told in its own words; a Prometheus that does not answer is told apart", async () => {
  answer({ status: 'error', errorType: 'bad_data', error: 'parse error' }, 400);
  await expect(queryAt('(', 0, signal)).rejects.toMatchObject({ message: 'parse error', unavailable: false });
  answer({ status: 'error', errorType: 'unavailable', error: 'nobody there' }, 502);
  await expect(queryAt('up', 0, signal)).rejects.toMatchObject({ message: 'nobody there', unavailable: true });
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('failed')));
  await expect(queryAt('up', 0, signal)).rejects.toBeInstanceOf(PrometheusError);
  expect(requestsUnderWay()).toBe(0);
});

test('a query that gives no series says what it gives', async () => {
  answer({ status: 'success', data: { resultType: 'string', result: [0, 'x'] } });
  await expect(queryAt('"x"', 0, signal)).rejects.toThrow('gives a string');
});
