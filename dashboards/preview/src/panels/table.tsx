import type { TableCellHeight } from '@grafana/schema';
import type { TableSortByFieldState } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import type { PanelProps } from './props';

interface TableOptions {
  showHeader?: boolean;
  sortBy?: TableSortByFieldState[];
  cellHeight?: TableCellHeight;
}

export function TablePanel({ panel, frames, width, height, timeRange }: PanelProps) {
  const options = (panel.options ?? {}) as TableOptions;
  const [frame] = frames;
  if (!frame) {
    return null;
  }
  return (
    <TableNG
      data={frame}
      width={width}
      height={height}
      noHeader={options.showHeader === false}
      sortBy={options.sortBy ?? []}
      sortByBehavior="initial"
      cellHeight={options.cellHeight}
      fieldConfig={panel.fieldConfig}
      timeRange={timeRange}
      resizable
      structureRev={1}
    />
  );
}
