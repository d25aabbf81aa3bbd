import { FieldType, formattedValueToString, getFieldDisplayName, getFieldSeriesColor, type DataFrame, type Field, type GrafanaTheme2 } from '@grafana/data';
import { LegendDisplayMode } from '@grafana/schema';
import { SeriesVisibilityChangeMode, TooltipPlugin2, UPlotChart, usePanelContext, useTheme2, VizLayout, VizLegend, type VizLegendItem } from '@grafana/ui';
import { useMemo } from 'react';
import type uPlot from 'uplot';
import { canvasConfig, widest } from './canvas';
import type { PanelProps } from './props';
import { HOVER_ALL, SeriesTooltip } from './tooltip';

interface BarChartOptions {
  xField?: string;
  barWidth?: number;
  groupWidth?: number;
  xTickLabelRotation?: number;
}

interface Series {
  name: string;
  color: string;
  hidden: boolean;
  field: Field;
}

const isHidden = (field: Field) => Boolean((field.config.custom as { hideFrom?: { viz?: boolean } } | undefined)?.hideFrom?.viz);

function seriesOf(frame: DataFrame, x: Field, theme: GrafanaTheme2): Series[] {
  return frame.fields
    .filter((field) => field !== x && field.type === FieldType.number)
    .map((field) => ({
      name: getFieldDisplayName(field, frame),
      color: getFieldSeriesColor(field, theme).color,
      hidden: isHidden(field),
      field,
    }));
}

function maximum(series: Series[]): number {
  const values = series.flatMap(({ field }) => field.values as unknown[]).filter((value) => typeof value === 'number' && isFinite(value));
  return Math.max(0, ...(values as number[]));
}

export function BarChartPanel({ panel, frames, width, height, timeZone }: PanelProps) {
  const theme = useTheme2();
  const { onToggleSeriesVisibility } = usePanelContext();
  const options = (panel.options ?? {}) as BarChartOptions;
  const [frame] = frames;
  const chart = useMemo(() => frame && prepare(frame, options, theme, timeZone), [frame, options, theme, timeZone]);
  if (!chart) {
    return null;
  }
  const items: VizLegendItem[] = chart.all.map(({ name, color, hidden }) => ({ label: name, color, yAxis: 1, disabled: hidden }));
  const legend = (
    <VizLayout.Legend placement="bottom">
      <VizLegend
        displayMode={LegendDisplayMode.List}
        placement="bottom"
        items={items}
        onLabelClick={(item, event) =>
          onToggleSeriesVisibility?.(
            item.label,
            event.ctrlKey || event.metaKey || event.shiftKey ? SeriesVisibilityChangeMode.AppendToSelection : SeriesVisibilityChangeMode.ToggleSelection,
          )
        }
      />
    </VizLayout.Legend>
  );
  return (
    <VizLayout width={width} height={height} legend={legend}>
      {(width, height) => (
        <UPlotChart config={chart.config} data={chart.data} width={width} height={height}>
          <TooltipPlugin2
            config={chart.config}
            hoverMode={HOVER_ALL}
            render={(_, indices, closest) => <SeriesTooltip frame={chart.frame} indices={indices} closest={closest} timeZone={timeZone} />}
          />
        </UPlotChart>
      )}
    </VizLayout>
  );
}

function prepare(frame: DataFrame, options: BarChartOptions, theme: GrafanaTheme2, timeZone: string) {
  const x = frame.fields.find((field) => getFieldDisplayName(field, frame) === options.xField) ?? frame.fields.find((field) => field.type === FieldType.string);
  if (!x) {
    throw new Error(`the data has no field ${options.xField ?? 'of texts'} for the x axis`);
  }
  const all = seriesOf(frame, x, theme);
  const visible = all.filter(({ hidden }) => !hidden);
  const labels = x.values.map(String);
  const rotation = options.xTickLabelRotation ?? 0;
  const group = options.groupWidth ?? 0.7;
  const bar = (group / Math.max(1, visible.length)) * (options.barWidth ?? 0.97);

  const draw = (u: uPlot) => {
    const bottom = u.valToPos(0, 'y', true);
    visible.forEach(({ field, color }, i) => {
      u.ctx.fillStyle = color;
      field.values.forEach((value: unknown, row) => {
        if (typeof value !== 'number') {
          return;
        }
        const center = row - group / 2 + (group * (i + 0.5)) / visible.length;
        const left = u.valToPos(center - bar / 2, 'x', true);
        const right = u.valToPos(center + bar / 2, 'x', true);
        const top = u.valToPos(value, 'y', true);
        u.ctx.fillRect(left, top, right - left, bottom - top);
      });
    });
  };
  const first = visible[0]?.field;
  const format = (value: number) => (first?.display ? formattedValueToString(first.display(value)) : String(value));
  const radians = (Math.abs(rotation) * Math.PI) / 180;
  const config = canvasConfig({
    theme,
    timeZone,
    x: {
      min: -0.5,
      max: labels.length - 0.5,
      isTime: false,
      axis: {
        splits: labels.map((_, i) => i),
        values: () => labels,
        tickLabelRotation: -rotation, // Grafana counts it the other way round
        ...(rotation ? { size: Math.min(110, Math.round(widest(labels, theme) * Math.sin(radians)) + 26) } : {}),
      },
    },
    y: {
      min: 0,
      max: maximum(visible) * 1.05 || 1,
      axis: {
        values: (_, splits) => splits.map(format),
        // The first label of x reaches as far to the left.
        ...(rotation < 0 ? { size: Math.max(50, Math.round(widest(labels.slice(0, 1), theme) * Math.cos(radians))) } : {}),
      },
    },
    series: visible.length,
    draw,
  });
  const index = labels.map((_, i) => i);
  return {
    all,
    config,
    data: [index, ...visible.map(({ field }) => field.values as (number | null)[])] as uPlot.AlignedData,
    frame: { ...frame, fields: [x, ...visible.map(({ field }) => field)] },
  };
}
