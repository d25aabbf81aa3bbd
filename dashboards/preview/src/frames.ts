/** From Prometheus' answers to the data frames that Grafana's components draw. */
import { createDataFrame, FieldType, type DataFrame } from '@grafana/data';
import type { Target } from './dashboard';
import type { Series } from './prometheus';

/** Read a sample; Prometheus writes infinity as Go does, and what is not a number is a gap in a line. */
export function parseValue(text: string): number | null {
  const value = text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text);
  return Number.isNaN(value) ? null : value;
}

/** The name of a series: its legend with labels filled in, or the series as PromQL would write it. */
export function seriesName(metric: Record<string, string>, legend: string | undefined, expression: string): string {
  if (legend && legend !== '__auto') {
    return legend.replace(/\{\{\s*([^}]+?)\s*\}\}/g, (_, label: string) => metric[label] ?? '');
  }
  const { __name__: name = '', ...labels } = metric;
  const pairs = Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return (pairs.length ? `${name}{${pairs.join(', ')}}` : name) || expression;
}

/** One frame for each series. */
export function timeSeriesFrames(series: Series[], target: Target, expression: string, step: number): DataFrame[] {
  return series.map(({ metric, values }) => {
    const name = seriesName(metric, target.legendFormat, expression);
    return createDataFrame({
      refId: target.refId,
      name,
      fields: [
        { name: 'Time', type: FieldType.time, values: values.map(([time]) => time * 1000), config: { interval: step * 1000 } },
        {
          name: 'Value',
          type: FieldType.number,
          values: values.map(([, value]) => parseValue(value)),
          labels: metric,
          config: { displayNameFromDS: name },
        },
      ],
    });
  });
}

/** One frame with a row for each series and a column for each label. */
export function tableFrame(series: Series[], target: Target, valueName: string): DataFrame {
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const last = series.map(({ values }) => values.at(-1) ?? [0, 'NaN']);
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: last.map(([time]) => Number(time) * 1000), config: {} },
      ...labels.map((label) => ({
        name: label,
        type: FieldType.string,
        values: series.map(({ metric }) => metric[label] ?? ''),
        config: {},
      })),
      { name: valueName, type: FieldType.number, values: last.map(([, value]) => parseValue(String(value))), config: {} },
    ],
  });
}
