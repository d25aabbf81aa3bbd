import { getDisplayValueAlignmentFactors, VizOrientation, type DisplayValueAlignmentFactors, type FieldDisplay } from '@grafana/data';
import type { BarGaugeDisplayMode, BarGaugeNamePlacement, BarGaugeValueMode } from '@grafana/schema';
import { BarGauge, useTheme2, VizRepeater, type VizRepeaterRenderValueProps } from '@grafana/ui';
import type { PanelProps } from './props';
import { useValues } from './values';

interface BarGaugeOptions {
  displayMode: BarGaugeDisplayMode;
  namePlacement?: BarGaugeNamePlacement;
  orientation?: VizOrientation;
  showUnfilled?: boolean;
  valueMode?: BarGaugeValueMode;
}

const SPACING = 8;

export function BarGaugePanel(props: PanelProps) {
  const { panel, frames, width, height } = props;
  const theme = useTheme2();
  const options = panel.options as unknown as BarGaugeOptions;
  const getValues = useValues(props, false);

  const renderValue = ({ value, width, height, orientation, alignmentFactors }: VizRepeaterRenderValueProps<FieldDisplay, DisplayValueAlignmentFactors>) => (
    <BarGauge
      value={value.display}
      field={value.field}
      display={value.colIndex === undefined ? undefined : value.view?.getFieldDisplayProcessor(value.colIndex)}
      width={width}
      height={height}
      orientation={orientation}
      theme={theme}
      itemSpacing={SPACING}
      displayMode={options.displayMode}
      alignmentFactors={alignmentFactors}
      showUnfilled={options.showUnfilled}
      valueDisplayMode={options.valueMode}
      namePlacement={options.namePlacement}
    />
  );
  return (
    <VizRepeater
      getValues={getValues}
      source={frames}
      renderCounter={0}
      width={width}
      height={height}
      itemSpacing={SPACING}
      maxVizHeight={48}
      orientation={options.orientation ?? VizOrientation.Horizontal}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={renderValue}
    />
  );
}
