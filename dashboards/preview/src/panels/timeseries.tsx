import type { VizLegendOptions } from '@grafana/schema';
import { TimeSeries, TooltipPlugin2 } from '@grafana/ui';
import { PADDING } from './canvas';
import { Marks } from './marks';
import type { PanelProps } from './props';
import { HOVER_ALL, SeriesTooltip } from './tooltip';

interface TimeSeriesOptions {
  legend: VizLegendOptions;
  tooltip?: { sort?: string };
}

export function TimeSeriesPanel({ panel, frames, width, height, timeRange, timeZone, marks, onZoom }: PanelProps) {
  const options = panel.options as unknown as TimeSeriesOptions;
  return (
    <TimeSeries
      frames={frames}
      width={width}
      height={height}
      timeRange={timeRange}
      timeZone={timeZone}
      options={panel.options}
      legend={options.legend}
    >
      {(config, aligned) => {
        config.setPadding(PADDING); // it is read when the plot is made, which is after this
        return (
        <>
          <TooltipPlugin2
            config={config}
            hoverMode={HOVER_ALL}
            queryZoom={onZoom}
            render={(_, indices, closest) => (
              <SeriesTooltip
                frame={aligned}
                indices={indices}
                closest={closest}
                descending={options.tooltip?.sort === 'desc'}
                timeZone={timeZone}
              />
            )}
          />
          <Marks config={config} marks={marks} />
        </>
        );
      }}
    </TimeSeries>
  );
}
