import { dateTimeFormat, FieldType, formattedValueToString, getFieldDisplayName, type DataFrame } from '@grafana/data';
import { VizTooltipColorPlacement, VizTooltipContent, VizTooltipHeader, VizTooltipWrapper, type TooltipPlugin2, type VizTooltipItem } from '@grafana/ui';
import type { ComponentProps } from 'react';

type HoverMode = ComponentProps<typeof TooltipPlugin2>['hoverMode'];

/** All series at one x; the enumeration itself is not published. */
// eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment
export const HOVER_ALL = 1 as HoverMode;

export function Tooltip({ title, items }: { title: string; items: VizTooltipItem[] }) {
  return (
    <VizTooltipWrapper>
      <VizTooltipHeader item={{ label: '', value: title }} />
      <VizTooltipContent items={items} />
    </VizTooltipWrapper>
  );
}

interface SeriesTooltipProps {
  /** The x field, then one field for each series. */
  frame: DataFrame;
  /** Of the values under the cursor, by field. */
  indices: (number | null)[];
  /** The field that is closest to the cursor. */
  closest: number | null;
  descending?: boolean;
  timeZone: string;
}

export function SeriesTooltip({ frame, indices, closest, descending = false, timeZone }: SeriesTooltipProps) {
  const [x, ...series] = frame.fields;
  const at = indices[0];
  if (!x || at === null || at === undefined) {
    return null;
  }
  const items = series.flatMap((field, i) => {
    const index = indices[i + 1];
    const value: unknown = index === null || index === undefined ? null : field.values[index];
    const custom = field.config.custom as { hideFrom?: { viz?: boolean } } | undefined;
    if (typeof value !== 'number' || !field.display || custom?.hideFrom?.viz) {
      return [];
    }
    const shown = field.display(value);
    return [
      {
        label: getFieldDisplayName(field, frame),
        value: formattedValueToString(shown),
        color: shown.color ?? '',
        colorPlacement: VizTooltipColorPlacement.first,
        isActive: closest === i + 1,
        numeric: value,
      },
    ];
  });
  if (descending) {
    items.sort((a, b) => b.numeric - a.numeric);
  }
  const title = x.type === FieldType.time ? dateTimeFormat(x.values[at] as number, { timeZone }) : String(x.values[at]);
  return <Tooltip title={title} items={items} />;
}
