import { createDataFrame, type ScopedVars } from '@grafana/data';
import { describe, expect, test } from 'vitest';
import { ALL, interpolate, percentEncode, references, type Variable } from '../src/interpolation';

const variable = (name: string, selected: string[], rest: Partial<Variable> = {}): Variable => ({
  name,
  label: name,
  hidden: false,
  multi: false,
  includeAll: false,
  options: ['a', 'b.c', 'd|e'],
  selected,
  ...rest,
});
const scope = (...variables: Variable[]) => ({ variables, macros: { __range: '3600s' } });

describe('in a query', () => {
  test('a value stands as it is', () => {
    expect(interpolate('up{m="$m"}', scope(variable('m', ['fraud'])), 'promql')).toBe('up{m="fraud"}');
    expect(interpolate('up{m="${m}"}', scope(variable('m', ['fraud'])), 'promql')).toBe('up{m="fraud"}');
  });

  test('quotes, backslashes and line ends cannot leave the string', () => {
    const hostile = '"} or vector(1) #\\\n';
    expect(interpolate('up{m="$m"}', scope(variable('m', [hostile])), 'promql')).toBe('up{m="\\"} or vector(1) #\\\\\\n"}');
  });

  test('a value is not interpolated again', () => {
    expect(interpolate('$m', scope(variable('m', ['$n ${n:raw} $&']), variable('n', ['x'])), 'promql')).toBe('$n ${n:raw} $&');
  });

  test('several values are a pattern of literals', () => {
    const team = variable('team', ['a', 'b.c', 'd|e"'], { multi: true });
    expect(interpolate('{t=~"$team"}', scope(team), 'promql')).toBe('{t=~"(a|b\\\\.c|d\\\\|e\\")"}');
  });

  test('one value of a multi-valued variable is a pattern, too', () => {
    expect(interpolate('{t=~"$team"}', scope(variable('team', ['b.c'], { multi: true })), 'promql')).toBe('{t=~"b\\\\.c"}');
  });

  test('"All" is its own pattern where there is one, else every option', () => {
    const all = { multi: true, includeAll: true };
    expect(interpolate('$t', scope(variable('t', [ALL], { ...all, allValue: '.*' })), 'promql')).toBe('.*');
    expect(interpolate('$t', scope(variable('t', [ALL], all)), 'promql')).toBe('(a|b\\\\.c|d\\\\|e)');
  });

  test('macros are replaced, and what is not known stays to be seen', () => {
    expect(interpolate('rate(x[$__range]) $nobody ${m:glob}', scope(variable('m', ['a'])), 'promql')).toBe('rate(x[3600s]) $nobody ${m:glob}');
  });
});

describe('elsewhere', () => {
  test('in a title values are read', () => {
    expect(interpolate('$m of $t', scope(variable('m', ['<b>']), variable('t', [ALL], { multi: true })), 'text')).toBe('<b> of All');
  });

  test('in an address they are encoded, each under its name', () => {
    const team = variable('team', ['a&b', 'c d'], { multi: true });
    expect(interpolate('?${team:queryparam}&x=${team:percentencode}', scope(team), 'raw')).toBe('?var-team=a%26b&var-team=c%20d&x=a%26b%2Cc%20d');
    expect(percentEncode(`'"(!)*<`)).toBe('%27%22%28%21%29%2A%3C');
  });

  test('a link reads the cell it is on and the others of its row', () => {
    const frame = createDataFrame({ fields: [{ name: 'Model', values: ['a', 'b/1'] }, { name: 'url', values: ['x', 'https://y'], config: { displayName: 'Run book' } }] });
    const scopedVars = { __dataContext: { value: { data: [frame], frame, field: frame.fields[1], rowIndex: 1 } } } as unknown as ScopedVars;
    expect(interpolate('${__value.raw}', scope(), 'raw', scopedVars)).toBe('https://y');
    expect(interpolate('${__data.fields.Model:percentencode}', scope(), 'raw', scopedVars)).toBe('b%2F1');
    expect(interpolate('${__data.fields.Run book}', scope(), 'raw', scopedVars)).toBe('https://y');
    expect(interpolate('${__data.fields.None}', scope(), 'raw', scopedVars)).toBe('${__data.fields.None}');
  });
});

test('references names the variables of a text', () => {
  expect(references('a{b="$c"} ${d} ${e:raw}')).toEqual(['c', 'd', 'e']);
});
