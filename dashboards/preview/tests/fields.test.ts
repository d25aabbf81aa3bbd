import { createTheme, formattedValueToString, type DataFrame } from '@grafana/data';
import { expect, test } from 'vitest';
import { parseDashboard, type Panel } from '../src/dashboard';
import { prepareFrames } from '../src/fields';
import { tableFrame, timeSeriesFrames } from '../src/frames';
import { replaceFunction } from '../src/links';
import { resolveRange } from '../src/time';

const timeRange = resolveRange({ from: '0', to: '60000' });
const replace = (macros: Record<string, string> = {}) => {
  if (!timeRange) {
    throw new Error('no range');
  }
  return replaceFunction({ variables: [], macros }, timeRange);
};
const prepare = (panel: Partial<Panel>, frames: DataFrame[]) =>
  prepareFrames({ id: 1, type: 'table', title: '', gridPos: { x: 0, y: 0, w: 1, h: 1 }, ...panel }, frames, {
    theme: createTheme(),
    timeZone: 'utc',
    replace: replace(),
  });
const target = (refId: string) => ({ refId, expr: refId, legendFormat: '{{le}}' });

test('an override by name changes the field with that display name and no other', async () => {
  const frames = timeSeriesFrames(
    [
      { metric: { le: 'p50' }, values: [[1, '0.5']] },
      { metric: { le: 'p95' }, values: [[1, '0.5']] },
    ],
    target('A'),
    'x',
    60,
  );
  const prepared = await prepare(
    {
      fieldConfig: {
        defaults: { unit: 's', custom: { lineWidth: 2 } },
        overrides: [{ matcher: { id: 'byName', options: 'p95' }, properties: [{ id: 'color', value: { mode: 'fixed', fixedColor: '#111111' } }, { id: 'custom.lineWidth', value: 5 }] }],
      },
    },
    frames,
  );
  const fields = prepared.map((frame) => frame.fields[1]);
  expect(fields.map((field) => (field?.config.custom as { lineWidth: number }).lineWidth)).toEqual([2, 5]);
  expect(fields.map((field) => field?.config.color?.fixedColor)).toEqual([undefined, '#111111']);
  expect(fields.map((field) => field?.display && formattedValueToString(field.display(0.5)))).toEqual(['500 ms', '500 ms']);
});

test('the first threshold begins below every value', () => {
  const board = parseDashboard('{"uid":"u","title":"t","panels":[{"fieldConfig":{"defaults":{"thresholds":{"steps":[{"color":"a","value":null},{"color":"b","value":1}]}}}}]}');
  expect(board.panels[0]?.fieldConfig?.defaults.thresholds?.steps.map(({ value }) => value)).toEqual([-Infinity, 1]);
});

test('tables are merged by their labels, reduced to the named columns, in order and renamed', async () => {
  const frames = [
    tableFrame([{ metric: { m: 'a' }, values: [[1, '1']] }, { metric: { m: 'b' }, values: [[1, '2']] }], target('A'), 'Value #A'),
    tableFrame([{ metric: { m: 'b' }, values: [[1, '20']] }], target('B'), 'Value #B'),
    tableFrame([], target('C'), 'Value #C'),
  ];
  const [merged] = await prepare(
    {
      transformations: [
        { id: 'merge', options: {} },
        { id: 'filterFieldsByName', options: { include: { names: ['m', 'Value #A', 'Value #B'] } } },
        { id: 'organize', options: { excludeByName: {}, indexByName: { 'Value #B': 0, m: 1, 'Value #A': 2 }, renameByName: { m: 'Model', 'Value #A': 'A' } } },
      ],
    },
    frames,
  );
  expect(merged?.fields.map((field) => field.config.displayName ?? field.name)).toEqual(['Value #B', 'Model', 'A']);
  expect(merged?.fields.map((field) => Array.from(field.values as unknown[], (value) => value ?? null))).toEqual([
    [null, 20],
    ['a', 'b'],
    [1, 2],
  ]);
});

test('a transformation that is not known is named', async () => {
  await expect(prepare({ transformations: [{ id: 'extrapolate', options: {} }] }, [])).rejects.toThrow('not known to the preview: extrapolate');
});

test('a link fills in its row and never leads to script', async () => {
  const frames = [tableFrame([{ metric: { Model: 'a/"b"', url: 'javascript:alert(1)' }, values: [[1, '1']] }], target('A'), 'Value')];
  const links = (url: string) => [{ title: 't', url }];
  const [frame] = await prepare(
    {
      fieldConfig: {
        defaults: {},
        overrides: [
          { matcher: { id: 'byName', options: 'Model' }, properties: [{ id: 'links', value: links('/d/x?${__url_time_range}&var-model=${__data.fields.Model:percentencode}') }] },
          { matcher: { id: 'byName', options: 'url' }, properties: [{ id: 'links', value: links('${__value.raw}') }] },
        ],
      },
    },
    frames,
  );
  const href = (name: string) => frame?.fields.find((field) => field.name === name)?.getLinks?.({ valueRowIndex: 0 })[0]?.href;
  expect(href('Model')).toBe('/d/x?from=0&to=60000&var-model=a%2F%22b%22');
  expect(href('url')).toBe('about:blank');
});
