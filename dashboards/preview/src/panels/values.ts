import { getFieldDisplayValues, ReducerID, type FieldDisplay, type ReduceDataOptions } from '@grafana/data';
import { useTheme2 } from '@grafana/ui';
import type { PanelProps } from './props';

/** Return what gives the values of a panel that shows one number for each series. */
export function useValues({ panel, frames, replace, timeZone }: PanelProps, sparkline: boolean): () => FieldDisplay[] {
  const theme = useTheme2();
  const reduceOptions = (panel.options?.reduceOptions ?? { calcs: [ReducerID.lastNotNull] }) as ReduceDataOptions;
  return () =>
    getFieldDisplayValues({
      data: frames,
      theme,
      timeZone,
      replaceVariables: replace,
      sparkline,
      fieldConfig: panel.fieldConfig ?? { defaults: {}, overrides: [] },
      reduceOptions,
    });
}
