import { dateTime } from '@grafana/data';
import { expect, test } from 'vitest';
import { rangeText, resolveRange, shifted, stepSeconds, timeMacros } from '../src/time';

const range = (from: number, to: number) => ({ from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } });
const HOUR = 3_600_000;

test('a range is relative, or milliseconds, or none', () => {
  const relative = resolveRange({ from: 'now-6h', to: 'now' });
  expect((relative?.to.valueOf() ?? 0) - (relative?.from.valueOf() ?? 0)).toBeCloseTo(6 * HOUR, -2);
  expect(resolveRange({ from: '1000', to: '61000' })?.from.valueOf()).toBe(1000);
  expect(resolveRange({ from: 'yesterdayish', to: 'now' })).toBeUndefined();
  expect(resolveRange({ from: 'now', to: 'now-1h' })).toBeUndefined();
});

test('what stands in the address is the relative text or milliseconds', () => {
  expect(rangeText('now-6h')).toBe('now-6h');
  expect(rangeText(dateTime(1234))).toBe('1234');
});

test('the range moves by parts of its length', () => {
  expect(shifted(range(HOUR, 3 * HOUR), -0.5, -0.5)).toEqual({ from: '0', to: String(2 * HOUR) });
  expect(shifted(range(2 * HOUR, 4 * HOUR), -0.5, 0.5)).toEqual({ from: String(HOUR), to: String(5 * HOUR) });
});

test('a step gives about the points that are wanted, and is never shorter than samples come', () => {
  expect(stepSeconds(range(0, 6 * HOUR), 360)).toBe(60);
  expect(stepSeconds(range(0, 60_000), 360)).toBe(5);
  expect(stepSeconds(range(0, 60_000), 360, '1m')).toBe(60);
});

test('a rate spans four samples, or a step and one', () => {
  expect(timeMacros(range(0, HOUR), 5)).toEqual({ __interval: '5s', __rate_interval: '60s', __range: '3600s' });
  expect(timeMacros(range(0, HOUR), 300).__rate_interval).toBe('315s');
  expect(timeMacros(range(0, HOUR), 60, '1m').__rate_interval).toBe('240s');
});
