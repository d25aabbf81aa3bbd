/** What the panels have in common that draw themselves on Grafana's wrapper of uPlot: bar chart and heatmap. */
import type { GrafanaTheme2 } from '@grafana/data';
import { AxisPlacement, ScaleDirection, ScaleOrientation } from '@grafana/schema';
import { UPlotConfigBuilder } from '@grafana/ui';
import type uPlot from 'uplot';

type Axis = Omit<Parameters<UPlotConfigBuilder['addAxis']>[0], 'scaleKey' | 'theme' | 'placement'>;

/** Room at the right for the last label of a time axis, half of which stands beyond the end of the plot. */
export const PADDING: [null, number, null, null] = [null, 24, null, null];

interface CanvasOptions {
  theme: GrafanaTheme2;
  timeZone: string;
  x: { min: number; max: number; isTime: boolean; axis: Axis };
  y: { min: number; max: number; axis: Axis };
  /** How many series the data has beside x; they are drawn by `draw`. */
  series: number;
  draw: (u: uPlot) => void;
}

export function canvasConfig({ theme, timeZone, x, y, series, draw }: CanvasOptions): UPlotConfigBuilder {
  const config = new UPlotConfigBuilder(timeZone);
  config.addScale({
    scaleKey: 'x',
    isTime: x.isTime,
    orientation: ScaleOrientation.Horizontal,
    direction: ScaleDirection.Right,
    range: () => [x.min, x.max],
  });
  config.addScale({ scaleKey: 'y', orientation: ScaleOrientation.Vertical, direction: ScaleDirection.Up, range: () => [y.min, y.max] });
  config.addAxis({ scaleKey: 'x', isTime: x.isTime, timeZone, theme, placement: AxisPlacement.Bottom, grid: { show: false }, ...x.axis });
  config.addAxis({ scaleKey: 'y', theme, placement: AxisPlacement.Left, ...y.axis });
  for (let i = 0; i < series; i++) {
    config.addSeries({ scaleKey: 'y', theme, show: true, lineColor: 'transparent', pathBuilder: () => null, pointsBuilder: () => false });
  }
  config.setPadding(PADDING);
  config.setCursor({ y: false, points: { show: false }, drag: { x: x.isTime, y: false } });
  config.addHook('draw', (u) => {
    const { left, top, width, height } = u.bbox;
    u.ctx.save();
    u.ctx.beginPath();
    u.ctx.rect(left, top, width, height);
    u.ctx.clip();
    draw(u);
    u.ctx.restore();
  });
  return config;
}

const measuring = document.createElement('canvas').getContext('2d');

/** The width of the widest text on an axis, in pixels. */
export function widest(texts: string[], theme: GrafanaTheme2): number {
  if (!measuring) {
    return 0;
  }
  measuring.font = `12px ${theme.typography.fontFamily}`;
  return Math.max(0, ...texts.map((text) => measuring.measureText(text).width));
}
