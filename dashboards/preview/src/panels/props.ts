import type { DataFrame, InterpolateFunction, TimeRange } from '@grafana/data';
import type { Mark } from '../annotations';
import type { Panel } from '../dashboard';

/** What each kind of panel is drawn from. */
export interface PanelProps {
  panel: Panel;
  frames: DataFrame[];
  width: number;
  height: number;
  timeRange: TimeRange;
  timeZone: string;
  marks: Mark[];
  replace: InterpolateFunction;
  onZoom: (range: { from: number; to: number }) => void;
}
