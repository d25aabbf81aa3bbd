import { dateTimeFormat, formattedValueToString, getFieldDisplayName, getValueFormat, type DataFrame, type GrafanaTheme2 } from '@grafana/data';
import { TooltipPlugin2, UPlotChart, useTheme2, VizLayout } from '@grafana/ui';
import * as schemes from 'd3-scale-chromatic';
import { useMemo } from 'react';
import type uPlot from 'uplot';
import { canvasConfig, widest } from './canvas';
import type { PanelProps } from './props';
import { HOVER_ALL, Tooltip } from './tooltip';

interface HeatmapOptions {
  cellGap?: number;
  cellValues?: { unit?: string };
  color: { scheme: string; steps?: number; reverse?: boolean; min?: number; max?: number };
  filterValues?: { le?: number };
}

type Ramp = (t: number) => string;

/** The colours from least to most; the least is next to the background, in the light as in the dark. */
export function ramp({ scheme, reverse = false, steps = 64 }: HeatmapOptions['color'], dark: boolean): Ramp {
  const interpolator = (schemes as unknown as Record<string, Ramp | undefined>)[`interpolate${scheme}`];
  if (!interpolator) {
    throw new Error(`this colour scheme is not known to the preview: ${scheme}`);
  }
  const flipped = reverse !== dark;
  return (t) => {
    const step = Math.round(Math.min(1, Math.max(0, t)) * (steps - 1)) / (steps - 1);
    return interpolator(flipped ? 1 - step : step);
  };
}

interface Grid {
  names: string[];
  times: number[];
  /** Milliseconds between two times. */
  step: number;
  /** By row, then by time. */
  cells: (number | null)[][];
}

/** A row for each series in the order of the answer, a column for each time that any of them has. */
export function gridOf(frames: DataFrame[]): Grid {
  const times = [...new Set(frames.flatMap((frame) => (frame.fields[0]?.values ?? []) as number[]))].sort((a, b) => a - b);
  const cells = frames.map((frame) => {
    const [time, value] = frame.fields;
    const byTime = new Map(time?.values.map((t: number, i) => [t, value?.values[i] as number]));
    return times.map((t) => byTime.get(t) ?? null);
  });
  return {
    names: frames.map((frame) => (frame.fields[1] ? getFieldDisplayName(frame.fields[1], frame, frames) : '')),
    times,
    step: frames[0]?.fields[0]?.config.interval ?? 0,
    cells,
  };
}

export function HeatmapPanel({ panel, frames, width, height, timeRange, timeZone, onZoom }: PanelProps) {
  const theme = useTheme2();
  const options = panel.options as unknown as HeatmapOptions;
  const span = useMemo(() => ({ min: timeRange.from.valueOf(), max: timeRange.to.valueOf() }), [timeRange]);
  const { grid, config, color, least, most, format } = useMemo(() => prepare(frames, options, theme, timeZone, span), [frames, options, theme, timeZone, span]);
  const rowAt = (u: uPlot) => Math.floor(u.posToVal(u.cursor.top ?? 0, 'y'));

  const scale = (
    <VizLayout.Legend placement="bottom">
      <div style={{ display: 'flex', alignItems: 'center', gap: 8, padding: 4, fontSize: 12, color: theme.colors.text.secondary }}>
        {format(least)}
        <div style={{ width: 160, height: 8, background: `linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1].map(color).join(',')})` }} />
        {format(most)}
      </div>
    </VizLayout.Legend>
  );
  return (
    <VizLayout width={width} height={height} legend={scale}>
      {(width, height) => (
        <UPlotChart config={config} data={[grid.times, ...grid.cells]} width={width} height={height}>
          <TooltipPlugin2
            config={config}
            hoverMode={HOVER_ALL}
            queryZoom={onZoom}
            render={(u, indices) => {
              const at = indices[0];
              const row = rowAt(u);
              const value = at === null || at === undefined ? undefined : grid.cells[row]?.[at];
              const time = at === null || at === undefined ? undefined : grid.times[at];
              if (time === undefined) {
                return null;
              }
              const shown = value === null || value === undefined ? 'no data' : format(value);
              return <Tooltip title={dateTimeFormat(time, { timeZone })} items={[{ label: grid.names[row] ?? '', value: shown }]} />;
            }}
          />
        </UPlotChart>
      )}
    </VizLayout>
  );
}

function prepare(frames: DataFrame[], options: HeatmapOptions, theme: GrafanaTheme2, timeZone: string, span: { min: number; max: number }) {
  const grid = gridOf(frames);
  const color = ramp(options.color, theme.isDark);
  const least = options.color.min ?? 0;
  const most = options.color.max ?? Math.max(least + 1e-12, ...grid.cells.flat().filter((value): value is number => value !== null && isFinite(value)));
  const empty = options.filterValues?.le ?? -Infinity;
  const gap = (options.cellGap ?? 1) * devicePixelRatio;

  const draw = (u: uPlot) => {
    grid.cells.forEach((row, k) => {
      const top = Math.round(u.valToPos(k + 1, 'y', true));
      const bottom = Math.round(u.valToPos(k, 'y', true));
      row.forEach((value, i) => {
        const time = grid.times[i];
        if (value === null || time === undefined || !(value > empty)) {
          return;
        }
        const left = Math.round(u.valToPos(time - grid.step, 'x', true));
        const right = Math.round(u.valToPos(time, 'x', true));
        u.ctx.fillStyle = color((value - least) / (most - least));
        u.ctx.fillRect(left, top, Math.max(1, right - left - gap), bottom - top - gap);
      });
    });
  };
  const valueFormat = getValueFormat(options.cellValues?.unit);
  const config = canvasConfig({
    theme,
    timeZone,
    x: { ...span, isTime: true, axis: {} },
    y: {
      min: 0,
      max: grid.names.length,
      axis: {
        grid: { show: false },
        splits: grid.names.map((_, k) => k + 0.5),
        values: () => grid.names,
        size: Math.ceil(widest(grid.names, theme)) + 18,
      },
    },
    series: grid.names.length,
    draw,
  });
  return { grid, config, color, least, most, format: (value: number) => formattedValueToString(valueFormat(value)) };
}
