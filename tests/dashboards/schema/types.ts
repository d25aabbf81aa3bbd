// A dashboard as JSON: Grafana's published types, with the values of enumerations in place of their names.
import type { AnnotationQuery, Dashboard, FieldConfig, Panel, RowPanel, VariableModel } from '@grafana/schema';
import type * as barchart from '@grafana/schema/dist/esm/raw/composable/barchart/panelcfg/x/BarChartPanelCfg_types.gen';
import type * as bargauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

type Json<T> = T extends string ? `${T}`
  : T extends number ? (`${T}` extends `${infer N extends number}` ? N : never)
  : T extends object ? { [K in keyof T]: Json<T[K]> }
  : T;

// Grafana fills in what a panel's options and its custom fields lack.
type Lenient<T> = T extends Array<infer E> ? Array<Lenient<E>>
  : T extends object ? { [K in keyof T]?: Lenient<T[K]> }
  : T;

// What the data source for Prometheus adds to the fields that every query has.
type Query = {
  refId: string;
  datasource: { type: 'prometheus'; uid: string };
  expr: string;
  legendFormat: string;
  range: boolean;
  instant: boolean;
  exemplar: boolean;
  editorMode: 'code';
  interval?: string;
  format?: 'table' | 'time_series';
};

type Property = { [P in keyof Required<FieldConfig> & string]: { id: P; value: Json<FieldConfig[P]> } }[keyof FieldConfig & string];
type Custom<C> = { [P in keyof C & string]-?: { id: `custom.${P}`; value: Lenient<Json<C[P]>> } }[keyof C & string];

type Of<Type extends string, Options, C> = Json<Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'>> & {
  type: Type;
  targets: Query[];
  options: Lenient<Json<Options>>;
  fieldConfig: {
    defaults: Json<Omit<FieldConfig, 'custom'>> & { custom?: Lenient<Json<C>> };
    overrides: Array<{ matcher: { id: 'byName'; options: string }; properties: Array<Property | Custom<C>> }>;
  };
};

export type AnyPanel =
  | Json<RowPanel>
  | Of<'barchart', barchart.Options, barchart.FieldConfig>
  | Of<'bargauge', bargauge.Options, Record<never, never>>
  | Of<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | Of<'stat', stat.Options, Record<never, never>>
  | Of<'table', table.Options, table.FieldConfig>
  | Of<'timeseries', timeseries.Options, timeseries.FieldConfig>;

export type Board = Json<Omit<Dashboard, 'annotations' | 'panels' | 'templating'>> & {
  uid: string;
  title: string;
  panels: AnyPanel[];
  // The query of an annotation is the data source's own; Grafana writes a variable's once more as its definition.
  annotations: { list: Array<Json<AnnotationQuery> & { expr: string; titleFormat: string; step: string }> };
  templating: { list: Array<Json<VariableModel> & { definition?: string }> };
};
