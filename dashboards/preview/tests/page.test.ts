import { SeriesVisibilityChangeMode } from '@grafana/ui';
import { createDataFrame, FieldType } from '@grafana/data';
import { expect, test } from 'vitest';
import { uidOf } from '../src/address';
import { stretches } from '../src/annotations';
import { withoutAll } from '../src/Controls';
import type { Panel } from '../src/dashboard';
import { ALL } from '../src/interpolation';
import { layOut } from '../src/layout';
import { linkAddress } from '../src/links';
import { gridOf, ramp } from '../src/panels/heatmap';
import { resolveRange } from '../src/time';
import { applyVisibility, toggle } from '../src/visibility';

const panel = (id: number, type: string, x: number, y: number, w: number, h: number): Panel => ({ id, type, title: '', gridPos: { x, y, w, h } });
const board = [panel(1, 'stat', 0, 0, 6, 4), panel(2, 'stat', 6, 0, 6, 4), panel(3, 'row', 0, 4, 24, 1), panel(4, 'table', 0, 5, 12, 8), panel(5, 'heatmap', 12, 5, 12, 8), panel(6, 'row', 0, 13, 24, 1)];

test('panels stand on a grid of 24 columns', () => {
  const { boxes, height } = layOut(board, new Set(), 1192);
  expect(boxes.map(({ x, width }) => [x, width])).toEqual([[0, 292], [300, 292], [0, 1192], [0, 592], [600, 592], [0, 1192]]);
  expect(boxes.map(({ y }) => y)).toEqual([0, 0, 152, 190, 190, 494]);
  expect(height).toBe(532);
});

test('a closed row takes no room', () => {
  const { boxes } = layOut(board, new Set([3]), 1192);
  expect(boxes.map(({ panel, y }) => [panel.id, y])).toEqual([[1, 0], [2, 0], [3, 152], [6, 190]]);
});

test('on a phone there is one column, of small panels two', () => {
  const { boxes } = layOut(board, new Set(), 368);
  expect(boxes.map(({ panel, x, width }) => [panel.id, x, width])).toEqual([[1, 0, 180], [2, 188, 180], [3, 0, 368], [4, 0, 368], [5, 0, 368], [6, 0, 368]]);
  const ends = boxes.map(({ y, height }) => y + height);
  expect(boxes.slice(3).every(({ y }, i) => y >= (ends[i + 2] ?? 0))).toBe(true);
});

test('a link keeps what it says: the time, the variables, both encoded', () => {
  const range = resolveRange({ from: 'now-1h', to: 'now' });
  const scope = { macros: {}, variables: [{ name: 'm', label: '', hidden: false, multi: false, includeAll: false, options: [], selected: ['a&b'] }] };
  if (!range) {
    throw new Error('no range');
  }
  expect(linkAddress({ title: '', url: '/d/x', keepTime: true, includeVars: true }, scope, range)).toBe('/d/x?from=now-1h&to=now&var-m=a%26b');
  expect(linkAddress({ title: '', url: '/d/x' }, scope, range)).toBe('/d/x');
  expect(linkAddress({ title: '', url: 'javascript:x' }, scope, range)).toBe('about:blank');
});

test('an address names a dashboard', () => {
  expect(uidOf('http://h/d/windvane-fleet/some-title?x=1')).toBe('windvane-fleet');
  expect(uidOf('http://h/')).toBeUndefined();
});

test('points without a gap are one stretch', () => {
  expect(stretches([0, 60, 120, 300, 360], 60)).toEqual([[0, 120], [300, 360]]);
  expect(stretches([], 60)).toEqual([]);
});

test('a click on the legend isolates, and again shows all; with Ctrl it hides and shows one', () => {
  const all = ['a', 'b', 'c'];
  const isolated = toggle(new Set(), 'a', SeriesVisibilityChangeMode.ToggleSelection, all);
  expect([...isolated]).toEqual(['b', 'c']);
  expect([...toggle(isolated, 'a', SeriesVisibilityChangeMode.ToggleSelection, all)]).toEqual([]);
  expect([...toggle(isolated, 'b', SeriesVisibilityChangeMode.ToggleSelection, all)]).toEqual(['a', 'c']);
  const without = toggle(new Set(), 'b', SeriesVisibilityChangeMode.AppendToSelection, all);
  expect([...without]).toEqual(['b']);
  expect([...toggle(without, 'b', SeriesVisibilityChangeMode.AppendToSelection, all)]).toEqual([]);
});

test('hidden series stay in the frames and are marked', () => {
  const frame = createDataFrame({ fields: [{ name: 'a', type: FieldType.number, values: [1] }, { name: 'b', type: FieldType.number, values: [2] }] });
  const [marked] = applyVisibility([frame], new Set(['b']));
  expect(marked?.fields.map((field) => field.config.custom as unknown)).toEqual([undefined, { hideFrom: { viz: true, legend: false, tooltip: true } }]);
});

test('"All" and single values exclude each other', () => {
  expect(withoutAll([ALL, 'a'], [ALL], true)).toEqual(['a']);
  expect(withoutAll(['a', ALL], ['a'], true)).toEqual([ALL]);
  expect(withoutAll([], ['a'], true)).toEqual([ALL]);
  expect(withoutAll([], ['a'], false)).toEqual(['a']);
});

test("a heatmap's rows are its series, and times that one of them lacks are empty", () => {
  const frame = (name: string, times: number[], values: number[]) =>
    createDataFrame({
      fields: [
        { name: 'Time', type: FieldType.time, values: times, config: { interval: 60 } },
        { name: 'Value', type: FieldType.number, values, config: { displayName: name } },
      ],
    });
  expect(gridOf([frame('00', [0, 60], [1, 2]), frame('01', [60], [3])])).toEqual({ names: ['00', '01'], times: [0, 60], step: 60, cells: [[1, 2], [null, 3]] });
});

test('the least of a heatmap is next to the background, and an unknown scheme is named', () => {
  const light = ramp({ scheme: 'Blues' }, false);
  const dark = ramp({ scheme: 'Blues' }, true);
  expect(dark(0)).toBe(light(1));
  expect(light(-5)).toBe(light(0));
  expect(() => ramp({ scheme: 'Plaid' }, false)).toThrow('Plaid');
});
