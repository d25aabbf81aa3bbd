import type { ComponentType } from 'react';
import { BarChartPanel } from './barchart';
import { BarGaugePanel } from './bargauge';
import { HeatmapPanel } from './heatmap';
import type { PanelProps } from './props';
import { StatPanel } from './stat';
import { TablePanel } from './table';
import { TimeSeriesPanel } from './timeseries';

interface PanelKind {
  component: ComponentType<PanelProps>;
  /** Whether it says itself that there is nothing to show. */
  drawsEmpty?: boolean;
}

/** The panel types that the preview knows, as dashboard JSON calls them. */
export const PANELS: Partial<Record<string, PanelKind>> = {
  barchart: { component: BarChartPanel },
  bargauge: { component: BarGaugePanel },
  heatmap: { component: HeatmapPanel },
  stat: { component: StatPanel, drawsEmpty: true },
  table: { component: TablePanel },
  timeseries: { component: TimeSeriesPanel },
};
