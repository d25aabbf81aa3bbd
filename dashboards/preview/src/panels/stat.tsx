import { getDisplayValueAlignmentFactors, VizOrientation, type DisplayValueAlignmentFactors, type FieldDisplay } from '@grafana/data';
import { BigValue, BigValueColorMode, BigValueGraphMode, type BigValueTextMode, useTheme2, VizRepeater, type VizRepeaterRenderValueProps } from '@grafana/ui';
import type { PanelProps } from './props';
import { useValues } from './values';

interface StatOptions {
  graphMode?: BigValueGraphMode;
  colorMode?: BigValueColorMode;
  textMode?: BigValueTextMode;
  orientation?: VizOrientation;
}

export function StatPanel(props: PanelProps) {
  const { panel, frames, width, height, timeRange } = props;
  const theme = useTheme2();
  const options = (panel.options ?? {}) as StatOptions;
  const graphMode = options.graphMode ?? BigValueGraphMode.Area;
  const getValues = useValues(props, graphMode !== BigValueGraphMode.None);

  const renderValue = ({ value, width, height, count, alignmentFactors }: VizRepeaterRenderValueProps<FieldDisplay, DisplayValueAlignmentFactors>) => (
    <BigValue
      value={value.display}
      count={count}
      sparkline={value.sparkline && { ...value.sparkline, timeRange }}
      colorMode={options.colorMode ?? BigValueColorMode.Value}
      graphMode={graphMode}
      textMode={options.textMode}
      alignmentFactors={alignmentFactors}
      width={width}
      height={height}
      theme={theme}
    />
  );
  return (
    <VizRepeater
      getValues={getValues}
      source={frames}
      renderCounter={0}
      autoGrid
      width={width}
      height={height}
      orientation={options.orientation ?? VizOrientation.Auto}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={renderValue}
    />
  );
}
