import { afterEach, expect, test, vi } from 'vitest';
import { parseDashboard } from '../src/dashboard';
import { ALL } from '../src/interpolation';
import { resolveRange } from '../src/time';
import { dependents, loadVariables, select, sortOptions } from '../src/variables';

const query = (name: string, text: string, rest = {}) => ({ type: 'query', name, query: { query: text }, ...rest });
const board = parseDashboard(
  JSON.stringify({
    uid: 'u',
    title: 't',
    templating: {
      list: [
        { type: 'datasource', name: 'datasource', query: 'prometheus' },
        query('model', 'label_values(ml_model_info, ml_model_name)'),
        query('version', 'label_values(ml_model_info{ml_model_name="$model"}, ml_model_version)', { sort: 4 }),
        query('feature', 'label_values(x{m="$model",v="$version"}, f)'),
        query('team', 'label_values(team)', { multi: true, includeAll: true }),
      ],
    },
  }),
);
const range = resolveRange({ from: '0', to: '60000' });

afterEach(() => {
  vi.unstubAllGlobals();
});

function answer(values: Record<string, string[]>): string[] {
  const asked: string[] = [];
  vi.stubGlobal('fetch', (url: string) => {
    const { pathname, searchParams } = new URL(url, 'http://x');
    asked.push(searchParams.get('match[]') ?? '');
    return Promise.resolve(new Response(JSON.stringify({ status: 'success', data: values[pathname.split('/')[4] ?? ''] ?? [] })));
  });
  return asked;
}

const load = (parameters: string) => (range ? loadVariables(board, new URLSearchParams(parameters), range, new AbortController().signal) : Promise.reject(new Error('no range')));

test('a later variable is asked for with the value of an earlier one', async () => {
  const asked = answer({ ml_model_name: ['a"', 'b'], ml_model_version: ['2', '10'], f: ['x'], team: ['t'] });
  const loaded = await load('');
  expect(loaded.map(({ selected }) => selected)).toEqual([['prometheus'], ['a"'], ['10'], ['x'], [ALL]]);
  expect(asked).toEqual(['ml_model_info', 'ml_model_info{ml_model_name="a\\""}', 'x{m="a\\"",v="10"}', '']);
});

test('the address decides, and more values only where a variable takes several', async () => {
  answer({ ml_model_name: ['a', 'b'] });
  const loaded = await load('var-model=b&var-model=a&var-team=x&var-team=y');
  expect(loaded.find(({ name }) => name === 'model')?.selected).toEqual(['b']);
  expect(loaded.find(({ name }) => name === 'team')?.selected).toEqual(['x', 'y']);
});

test('what the preview does not know is named', async () => {
  const custom = parseDashboard('{"uid":"u","title":"t","templating":{"list":[{"type":"custom","name":"size","query":"1,2"}]}}');
  answer({});
  if (range) {
    await expect(loadVariables(custom, new URLSearchParams(), range, new AbortController().signal)).rejects.toThrow('size (custom)');
  }
});

test('options are sorted as the dashboard says', () => {
  expect(sortOptions(['v10', 'v9', 'a'], 3)).toEqual(['a', 'v9', 'v10']);
  expect(sortOptions(['v10', 'v9', 'a'], 4)).toEqual(['v10', 'v9', 'a']);
  expect(sortOptions(['b', 'a'])).toEqual(['b', 'a']);
});

test('the saved value comes before the first option', () => {
  const model = { type: 'query', name: 'x', query: '', current: { value: 'saved' } };
  expect(select(model, ['first'], [])).toEqual(['saved']);
  expect(select({ ...model, current: {} }, ['first'], [])).toEqual(['first']);
  expect(select({ ...model, current: {} }, [], [])).toEqual([]);
});

test('a change takes the values along that depended on it, directly or not', () => {
  expect(dependents(board.templating.list, 'model')).toEqual(['version', 'feature']);
  expect(dependents(board.templating.list, 'version')).toEqual(['feature']);
});
