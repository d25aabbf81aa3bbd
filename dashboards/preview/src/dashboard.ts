/** Classic dashboard JSON, as far as the preview reads it. */
import type { DataTransformerConfig, FieldConfigSource, RawTimeRange } from '@grafana/data';

export interface GridPosition {
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface Target {
  refId: string;
  expr: string;
  legendFormat?: string;
  format?: string;
  instant?: boolean;
  /** The least step of the query, such as `1m`. */
  interval?: string;
  hide?: boolean;
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: GridPosition;
  targets?: Target[];
  fieldConfig?: FieldConfigSource;
  options?: Record<string, unknown>;
  transformations?: DataTransformerConfig[];
  /** Of a row. */
  collapsed?: boolean;
  /** Of a collapsed row: what stands below it. */
  panels?: Panel[];
}

export interface VariableModel {
  type: string;
  name: string;
  label?: string;
  query: string | { query: string };
  hide?: number;
  multi?: boolean;
  includeAll?: boolean;
  allValue?: string;
  sort?: number;
  current?: { value?: string | string[] };
}

export interface Annotation {
  name: string;
  enable: boolean;
  iconColor: string;
  expr: string;
  titleFormat?: string;
}

export interface Link {
  title: string;
  tooltip?: string;
  url: string;
  keepTime?: boolean;
  includeVars?: boolean;
  targetBlank?: boolean;
}

export interface Dashboard {
  uid: string;
  title: string;
  description?: string;
  timezone?: string;
  refresh?: string;
  time: RawTimeRange;
  templating: { list: VariableModel[] };
  annotations: { list: Annotation[] };
  links: Link[];
  panels: Panel[];
}

/** Read a dashboard's text; what is missing is empty. */
export function parseDashboard(text: string): Dashboard {
  const read = JSON.parse(text, restoreBaseThreshold) as Partial<Dashboard> & Pick<Dashboard, 'uid' | 'title'>;
  return {
    ...read,
    time: read.time ?? { from: 'now-6h', to: 'now' },
    templating: { list: read.templating?.list ?? [] },
    annotations: { list: (read.annotations?.list ?? []).filter((one) => one.enable && one.expr) },
    links: read.links ?? [],
    panels: read.panels ?? [],
  };
}

/** The first threshold begins below every value, which JSON can only write as null. */
function restoreBaseThreshold(key: string, value: unknown): unknown {
  if (key !== 'steps' || !Array.isArray(value)) {
    return value;
  }
  return (value as { value: number | null }[]).map((step, i) => (i === 0 ? { ...step, value: -Infinity } : step));
}
