import { expect, test } from 'vitest';
import { parseValue, seriesName, tableFrame, timeSeriesFrames } from '../src/frames';

const target = { refId: 'A', expr: 'x' };

test('samples: infinity as Go writes it, and a gap for what is no number', () => {
  expect(['1e3', '+Inf', '-Inf', 'NaN'].map(parseValue)).toEqual([1000, Infinity, -Infinity, null]);
});

test('a legend is filled in with labels; without one the series names itself', () => {
  const metric = { __name__: 'up', job: '<b>"x"</b>' };
  expect(seriesName(metric, '{{job}} {{ none }}!', 'q')).toBe('<b>"x"</b> !');
  expect(seriesName(metric, '__auto', 'q')).toBe('up{job="<b>\\"x\\"</b>"}');
  expect(seriesName({}, undefined, 'vector(1)')).toBe('vector(1)');
});

test('each series is a frame', () => {
  const [frame] = timeSeriesFrames([{ metric: { a: 'b' }, values: [[60, '1'], [120, 'NaN']] }], { ...target, legendFormat: '{{a}}' }, 'x', 60);
  expect(frame?.name).toBe('b');
  expect(frame?.fields.map((field) => field.values as unknown[])).toEqual([[60_000, 120_000], [1, null]]);
  expect(frame?.fields[0]?.config.interval).toBe(60_000);
});

test('a table has a row for each series and a column for each label of any', () => {
  const frame = tableFrame([{ metric: { b: '1' }, values: [[1, '5']] }, { metric: { a: '2' }, values: [[1, '6']] }], target, 'Value #A');
  expect(frame.fields.map((field) => [field.name, field.values])).toEqual([
    ['Time', [1000, 1000]],
    ['a', ['', '2']],
    ['b', ['1', '']],
    ['Value #A', [5, 6]],
  ]);
  expect(tableFrame([], target, 'Value').fields.map((field) => field.name)).toEqual(['Time', 'Value']);
});
